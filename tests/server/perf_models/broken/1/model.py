"""A model that never loads."""


class TritonPythonModel:
    def initialize(self, args):
        raise RuntimeError("born broken")
