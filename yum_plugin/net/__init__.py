"""Network access: requests and downloads with limits and deadlines, directly to the server in the URL, without redirects.

May be imported from everything above it; imports ``util/``, ``model`` and ``errors`` and knows neither keys nor repositories.
"""
