"""What the server would say of a repository, without one."""
