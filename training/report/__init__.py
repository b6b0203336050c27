"""The evidence of a training as tables, figures, a page and a document."""
