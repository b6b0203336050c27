"""`mesh up`: what is started, checked before anything starts; the start itself; and what is shown of it."""
