"""Figures: what is drawn is what was found, in an order that shows the groups."""

from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from moduli.errors import InputError
from moduli.linear.perceptron import MultiTaskPerceptron
from moduli.linear.plots import clustered, cosines, plot_coefficients, plot_path, plot_relationship


@pytest.fixture(autouse=True)
def _no_screen():
    import matplotlib.pyplot as plt

    before = mpl.get_backend()
    plt.switch_backend("Agg")
    yield
    plt.close("all")
    plt.switch_backend(before)


def drawn(ax):
    """The matrix that a heat map shows, and its names."""
    mesh = ax.collections[0]
    low, high = mesh.get_clim()
    assert low == -high  # colours are centred at 0
    values = np.asarray(mesh.get_array())
    assert ax.yaxis_inverted()
    return values, [text.get_text() for text in ax.get_xticklabels()], ax.get_yticklabels()


def grouped(T=9, d=20, seed=0):
    """Columns of three groups, mixed."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.arange(T) % 3)
    return rng.normal(size=(d, 3))[:, group] + 0.1 * rng.normal(size=(d, T)), group


def blocks(group):
    return 1 + int(np.sum(np.diff(group) != 0))


def test_cosines():
    W = np.array([[1.0, 2, 0, -1], [0, 0, 0, -1]])
    root = np.sqrt(0.5)
    expected = [[1, 1, 0, -root], [1, 1, 0, -root], [0, 0, 1, 0], [-root, -root, 0, 1]]
    np.testing.assert_allclose(cosines(W), expected)


@pytest.mark.parametrize("seed", range(5))
def test_clustering_puts_groups_side_by_side(seed):
    W, group = grouped(seed=seed)
    order = clustered(cosines(W))
    assert sorted(order) == list(range(9))
    assert blocks(group[order]) == 3
    assert clustered(np.eye(2)).tolist() == [0, 1]


def test_relationship_of_an_estimator_is_drawn_in_order():
    W, group = grouped()
    X = np.random.default_rng(1).normal(size=(300, 20))
    names = np.array([f"task {t}" for t in range(9)])
    task = np.repeat(np.arange(9), 300)
    y = np.sign(X @ W).T.ravel()
    model = MultiTaskPerceptron(learn="covariance", shuffle=True, random_state=0)
    model.fit(np.tile(X, (9, 1)), y, names[task])
    values, labels, rows = drawn(plot_relationship(model))
    places = [names.tolist().index(label) for label in labels]
    np.testing.assert_array_equal(values, model.relationship_[np.ix_(places, places)])
    assert [text.get_text() for text in rows] == labels
    assert blocks(group[places]) == 3
    values, labels, _ = drawn(plot_relationship(model, order=False, names=range(9)))
    np.testing.assert_array_equal(values, model.relationship_)
    assert labels == [str(t) for t in range(9)]


def test_clusters_do_not_depend_on_the_scale_of_tasks():
    W, group = grouped()
    scaled = W * np.geomspace(0.01, 100, 9)
    ax = plot_relationship(scaled.T @ scaled)
    places = [int(text.get_text()) for text in ax.get_xticklabels()]
    assert blocks(group[places]) == 3


def test_without_a_relationship_cosines_are_drawn():
    class Fitted(MultiTaskPerceptron):
        coef_ = grouped()[0]

    values, _, _ = drawn(plot_relationship(Fitted(), order=False))
    np.testing.assert_allclose(values, cosines(Fitted.coef_))
    with pytest.raises(InputError, match="MultiTaskPerceptron has no coef_"):
        plot_relationship(MultiTaskPerceptron())


def test_coefficients_are_drawn_with_names():
    W, group = grouped()
    ax = plot_coefficients(W, names=list("abcdefghi"), features=[f"f{i}" for i in range(20)])
    values, labels, rows = drawn(ax)
    places = ["abcdefghi".index(label) for label in labels]
    np.testing.assert_array_equal(values, W[:, places])
    assert [text.get_text() for text in rows] == [f"f{i}" for i in range(20)]
    assert blocks(group[places]) == 3


def test_many_tasks_are_named_here_and_there():
    W, _ = grouped(T=139)
    ax = plot_relationship(W.T @ W, order=False)
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert labels == [str(t) for t in range(0, 139, 4)]
    np.testing.assert_allclose(ax.get_xticks(), np.arange(0, 139, 4) + 0.5)


def test_path_shows_norms_of_rows():
    rng = np.random.default_rng(2)
    alphas = np.array([0.01, 1, 0.1])
    coefs = rng.normal(size=(3, 12, 4)) * np.arange(12)[:, None]
    ax = plot_path(SimpleNamespace(alphas=alphas, coefs=coefs), features=[f"f{i}" for i in range(12)])
    assert ax.get_xscale() == "log"
    assert ax.get_xlim() == (1, 0.01)
    norms = np.sqrt((coefs**2).sum(axis=2))
    lines = {line.get_label(): line for line in ax.get_lines()}
    named = [label for label in lines if label.startswith("f")]
    assert len(named) == 10
    assert len(lines) == 12  # the others are there, without a name
    for label in named:
        np.testing.assert_array_equal(lines[label].get_xdata(), [0.01, 0.1, 1])
        np.testing.assert_allclose(lines[label].get_ydata(), norms[[0, 2, 1], int(label[1:])])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == named


@pytest.mark.parametrize("draw", [plot_relationship, plot_coefficients])
def test_axes_can_be_given(draw):
    given = Figure().add_subplot()
    given.figure.set_layout_engine("constrained")
    assert draw(np.eye(4), names=["$a", "b$", "_", "long" * 10], ax=given) is given
    given.figure.savefig(SimpleNamespace(write=lambda data: None), format="png")  # names are no mathematics


def test_bad_input():
    with pytest.raises(InputError, match="not symmetric"):
        plot_relationship([[1, 2], [0, 1]])
    with pytest.raises(InputError, match="square"):
        plot_relationship(np.ones((2, 3)))
    with pytest.raises(InputError, match="NaN"):
        plot_relationship([[np.nan]])
    with pytest.raises(InputError, match="2 names are given for 3 tasks"):
        plot_coefficients(np.ones((2, 3)), names=["a", "b"])
    with pytest.raises(InputError, match="1 names are given for 2 features"):
        plot_coefficients(np.ones((2, 3)), features=["a"])
    with pytest.raises(InputError, match="two dimensions"):
        plot_coefficients(np.ones(3))
    with pytest.raises(InputError, match="do not fit"):
        plot_path(SimpleNamespace(alphas=[1], coefs=np.ones((2, 3, 4))))
    with pytest.raises(InputError, match="alphas has 0"):
        plot_path(SimpleNamespace(alphas=[1, 0], coefs=np.ones((2, 3, 4))))
