"""What runs in a container or a cluster beside the services: the entry of the image, keys, a database for trials, training.

On one machine the supervisor does these things; here each is a process of its own, which the manifests start.
"""
