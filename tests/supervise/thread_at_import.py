"""A module that no template may import: it starts a thread."""

import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
