"""Is a dataset what it is taken for? Every file looked into; see docs/data.md.

Nothing is imported here: processes that only read files start without torch.
"""
