"""The Web API: the vendor's v3 dialect over HTTP. It translates; what may be done is decided below."""
