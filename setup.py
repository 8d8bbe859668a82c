from setuptools import find_packages, setup

MAIN_REQUIREMENTS = [
    "airbyte-cdk>=7.39.1,<8",  # protocol, concurrency, HTTP with retries, secrets, state
    "jsonschema>=4.17.3,<5",  # the settings against the spec
    "orjson>=3.10.7,<4",  # answers are parsed and rows fingerprinted with it
    "PyJWT>=2.8,<3",  # when a refused token expired
    "requests>=2.32,<3",  # the session that the CDK's HttpClient sends through
    "urllib3>=2.2,<3",  # its read1 bounds how long a slow answer may take
]

# PyAirbyte supports no Python above 3.12.
PYAIRBYTE = "airbyte>=0.71.3,<0.72; python_version < '3.13'"

SANDBOX_REQUIREMENTS = ["aiohttp>=3.10,<4"]

QUICKSTART_REQUIREMENTS = [PYAIRBYTE, *SANDBOX_REQUIREMENTS]

TEST_REQUIREMENTS = [
    *QUICKSTART_REQUIREMENTS,
    "airbyte-connector-models>=0.1,<1",
    "dagster>=1.9,<2",  # runs the example of a scheduled job
    "hypothesis>=6.100,<7",
    "mypy>=1.13,<3",
    "pytest>=8,<10",
    "pytest-xdist>=3.6,<4",
    "psycopg[binary]>=3.2,<4",
    "requests-mock>=1.12,<2",
    "ruff>=0.8,<1",
    "types-jsonschema>=4.17",
    "types-requests>=2.32",
]

setup(
    name="airbyte-source-ravan-calcom",
    version="0.1.0",
    description="Airbyte source for the Cal.com appointments that Ravan.ai voice agents book.",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
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
    entry_points={"console_scripts": ["source-ravan-calcom=source_ravan_calcom.run:run"]},
)
