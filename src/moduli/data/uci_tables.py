"""Names, sizes and published forms of the ten UCI sets; `uci.py` makes files and tasks of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """One of the ten sets.

    Args:
        title: its full name.
        raw: the published file, below the folder of data bases of the UCI repository.
        archive: the published archive with that file, below the repository's folder of archives.
        columns: names of the features, separated by spaces.
        codes: what the classes are called in the published file, in the order of the target's indices.
        counts: rows of each class.
        citation: what to cite.
        sha256: of our CSV file.
        class_at: position of the class in a published row.
        ids: number of leading columns that only name the row.
        missing: missing cells, and rows with missing cells.
    """

    title: str
    raw: str
    archive: str
    columns: str
    codes: str
    counts: tuple[int, ...]
    citation: str
    sha256: str
    class_at: int = -1
    ids: int = 0
    missing: tuple[int, int] = (0, 0)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(self.columns.split())

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the target's indices."""
        return tuple(self.codes.split())


def _numbered(count: int) -> str:
    return " ".join(f"A{i}" for i in range(1, count + 1))


def _cells(*forms: str) -> str:
    measured = "radius texture perimeter area smoothness compactness concavity concave_points symmetry"
    return " ".join(form.format(name) for form in forms for name in [*measured.split(), "fractal_dimension"])


TABLES = {
    "australian": Table(
        title="Statlog (Australian Credit Approval)",
        raw="statlog/australian/australian.dat",
        archive="143/statlog+australian+credit+approval.zip",
        columns=_numbered(14),
        codes="0 1",
        counts=(383, 307),
        citation="Quinlan, R. Statlog (Australian Credit Approval). doi:10.24432/C59012",
        sha256="ec4ad6717a53fdbd8503c044c32ce39fde24a505e39a049aef645eb99adceede",
    ),
    "wdbc": Table(
        title="Breast Cancer Wisconsin (Diagnostic)",
        raw="breast-cancer-wisconsin/wdbc.data",
        archive="17/breast+cancer+wisconsin+diagnostic.zip",
        columns=_cells("mean_{}", "{}_error", "worst_{}"),
        codes="M B",
        counts=(212, 357),
        citation=("Wolberg, W., Mangasarian, O., Street, N. & Street, W. (1993). doi:10.24432/C5DW2B"),
        sha256="9b9e3a2fe53a2264f7e756aff00ab883450186c47bfb2027b4d90ca51d23347d",
        class_at=1,
        ids=1,
    ),
    "ecoli": Table(
        title="Ecoli (protein localization sites)",
        raw="ecoli/ecoli.data",
        archive="39/ecoli.zip",
        columns="mcg gvh lip chg aac alm1 alm2",
        codes="cp im pp imU om omL imL imS",
        counts=(143, 77, 52, 35, 20, 5, 2, 2),
        citation="Nakai, K. (1996). Ecoli. doi:10.24432/C5388M",
        sha256="068985946d99bac714446b53dd65e718e65d962399ff5f4ca61d0e01b4ddf8d3",
        ids=1,
    ),
    "german_numeric": Table(
        title="Statlog (German Credit Data), numeric form",
        raw="statlog/german/german.data-numeric",
        archive="144/statlog+german+credit+data.zip",
        columns=_numbered(24),
        codes="1 2",
        counts=(700, 300),
        citation="Hofmann, H. (1994). Statlog (German Credit Data). doi:10.24432/C5NC77",
        sha256="ae7ed845d84d57c74256dd501027df011868dac2038def9fba65dafcc5b3b722",
    ),
    "heart_cleveland": Table(
        title="Heart Disease (Cleveland)",
        raw="heart-disease/processed.cleveland.data",
        archive="45/heart+disease.zip",
        columns="age sex cp trestbps chol fbs restecg thalach exang oldpeak slope ca thal",
        codes="0 1 2 3 4",
        counts=(164, 55, 36, 35, 13),
        citation=(
            "Janosi, A., Steinbrunn, W., Pfisterer, M. & Detrano, R. (1989). Heart Disease. "
            "doi:10.24432/C52P4X"
        ),
        sha256="1a415718bb447be8a3be8e65e015c620a7447f36f823e51054d74bdea5058f91",
        missing=(6, 6),
    ),
    "hepatitis": Table(
        title="Hepatitis",
        raw="hepatitis/hepatitis.data",
        archive="46/hepatitis.zip",
        columns=(
            "age sex steroid antivirals fatigue malaise anorexia liver_big liver_firm "
            "spleen_palpable spiders ascites varices bilirubin alk_phosphate sgot albumin protime "
            "histology"
        ),
        codes="1 2",
        counts=(32, 123),
        citation="Hepatitis (1983). UCI Machine Learning Repository. doi:10.24432/C5Q59J",
        sha256="d0ea0ba8b0ef48d92c31742f3052ae2aa092792d3d23c77729d29a41d9f53953",
        class_at=0,
        missing=(167, 75),
    ),
    "iris": Table(
        title="Iris",
        raw="iris/iris.data",
        archive="53/iris.zip",
        columns="sepal_length sepal_width petal_length petal_width",
        codes="Iris-setosa Iris-versicolor Iris-virginica",
        counts=(50, 50, 50),
        citation="Fisher, R. (1936). Iris. doi:10.24432/C56C76",
        sha256="1f28e1717dd0afaf6d6b560ba850a675934f35316bf724849beabcc9c70d4f75",
    ),
    "pima": Table(
        title="Pima Indians Diabetes",
        raw="",
        archive="",
        columns="pregnancies glucose blood_pressure skin_thickness insulin bmi pedigree age",
        codes="0 1",
        counts=(500, 268),
        citation=(
            "Smith, J., Everhart, J., Dickson, W., Knowler, W. & Johannes, R. (1988). Using the "
            "ADAP learning algorithm to forecast the onset of diabetes mellitus."
        ),
        sha256="99fed4ac44e2d602f6e88f634c195e7b91e05f9c1772e84476f8bbc7db4bdbcb",
    ),
    "wine": Table(
        title="Wine",
        raw="wine/wine.data",
        archive="109/wine.zip",
        columns=(
            "alcohol malic_acid ash alcalinity_of_ash magnesium total_phenols flavanoids "
            "nonflavanoid_phenols proanthocyanins color_intensity hue "
            "od280_od315_of_diluted_wines proline"
        ),
        codes="1 2 3",
        counts=(59, 71, 48),
        citation="Aeberhard, S. & Forina, M. (1992). Wine. doi:10.24432/C5PC7J",
        sha256="d5d69cdca7fbc23a2891e35e6ac46e909907a488300ba83b5cc264bd12a4ceec",
        class_at=0,
    ),
    "yeast": Table(
        title="Yeast (protein localization sites)",
        raw="yeast/yeast.data",
        archive="110/yeast.zip",
        columns="mcg gvh alm mit erl pox vac nuc",
        codes="CYT NUC MIT ME3 ME2 ME1 EXC VAC POX ERL",
        counts=(463, 429, 244, 163, 51, 44, 35, 30, 20, 5),
        citation="Nakai, K. (1991). Yeast. doi:10.24432/C5KG68",
        sha256="aae7172c4290f8d1dc3ac974a73d16a98ed86dbe4e0a293ac4168f0e8b398703",
        ids=1,
    ),
}
