"""The action protocol: many invocations on one WebSocket (contract, section 6).

``frames`` is the vocabulary, ``_codec`` turns frames into text and back, ``_state`` says which frame may
follow which; none of them does any input or output, and the Python client uses the same three. ``handler``
is what an agent's author subclasses.
"""
