"""Candle files: the one reader behind import, replay, the simulated exchange's replayed market and training.

It imports nothing of the mesh but the bar grid and the spelling of products.
"""
