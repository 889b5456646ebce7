"""Small wheels, written by hand: what pip installs, and what no index has."""

import zipfile


def write_wheel(folder, name, version, source, *, tag="py3-none-any", requires=()):
    """Write a wheel with one module, which has the wheel's name."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    entry = f"[console_scripts]\n{name} = {name}:main\n"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + needs,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\n"
        f"Root-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/entry_points.txt": entry,
    }
    listed = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for inside, text in {**files, f"{info}/RECORD": listed}.items():
            wheel.writestr(inside, text)
    return path
