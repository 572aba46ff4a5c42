"""A DNS forwarder: answers from its cache, asks upstreams for the rest, directly or through a proxy."""
