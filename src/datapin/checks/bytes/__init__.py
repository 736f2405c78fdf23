"""Checks of bytes: are they there, on the remote too, and do they hash to their names?"""
