"""The version of Inkling: everything else that states it is read from here, or compared with this by a test."""

VERSION = "0.1.0"
