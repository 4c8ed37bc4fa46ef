"""How the known servers of the protocol differ, from what each of them answered."""
