"""The host: process and HTTP life. It serves protocols and has never heard of any in particular."""
