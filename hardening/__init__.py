"""The long checks of robustness: ``make hardening`` runs them; the short ones are in ``tests``."""
