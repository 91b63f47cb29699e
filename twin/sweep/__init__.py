"""Decision quality: the same measured days under many ways of operating, with statistics that say what is known."""
