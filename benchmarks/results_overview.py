"""The tables of ``docs/results.md``, each between marks with its name."""

from __future__ import annotations

from results_data import PLAIN, SYSTEMS, Results, names, read_results
from results_tables import best_mean, between_marks, largest_loss, shown_rates, table, value

COLUMNS = {
    "mosi_standard": ("mae", "`mosi_standard`, MAE"),
    "mosi_standard-folds": ("mae", "93 videos, MAE"),
    "mosi_complete": ("mae", "`mosi_complete`, MAE"),
    "ravdess_av-folds": ("accuracy", "24 speakers, accuracy, %"),
}
"""For each corpus its metric and its head in tables."""
CONTEXT = "late-fusion:context"


def overview(text: str) -> str:
    """The page with its tables made again."""
    for name, made in {
        "summary": summary, "recovery": recovery, "recovery of classes": recovery_of_classes, "context": context,
        "members": members, "losses": losses
    }.items():  # fmt: skip
        text = between_marks(text, name, made())
    return text


def read() -> dict[str, Results]:
    """The corpora of the tables."""
    return {name: read_results(name) for name in COLUMNS if name in names()}


def summary() -> str:
    """A row for each system: its average over rates on four corpora, and the seconds of one training."""
    measured = read()
    rows = []
    for system in [s for s in SYSTEMS if any(s in results.systems() for results in measured.values())]:
        cells = []
        for name, results in measured.items():
            metric = COLUMNS[name][0]
            key = ("random", "average", metric, system)
            cells.append(value(results, key, best_mean(results, "random", "average", metric)))
        seconds = measured["mosi_standard"].runs.get(("training seconds", system), {}).get("", ("", ""))[0]
        rows.append([f"`{system}`", *cells, seconds])
    return table(["system", *(COLUMNS[name][1] for name in measured), "seconds"], rows)


def recovery() -> str:
    """IMDer minus late fusion with the same context and members, for each pattern of availability: regression."""
    heads, columns = ["available"], []
    measured = recovered("mae")
    patterns = next(list(r.runs["weight of recovery", "imder"]) for r in measured.values())
    for name, results in measured.items():
        weights = results.runs["weight of recovery", "imder"]
        title = COLUMNS[name][1].partition(",")[0]
        if not any(float(mean) for mean, _ in weights.values()):
            heads.append(title)
            columns.append([unweighted(results, pattern) for pattern in patterns])
            continue
        heads += [f"{title}: weight", "MAE", "correlation", "CRPS"]
        columns.append([weights[p][0] for p in patterns])
        columns += [[apart(results, p, metric) for p in patterns] for metric in ("mae", "corr", "crps")]
    return table(heads, [list(row) for row in zip(patterns, *columns)])


def recovery_of_classes() -> str:
    """The same for classification."""
    rows = []
    for name, results in recovered("accuracy").items():
        title = COLUMNS[name][1].partition(",")[0]
        for pattern, (weight, _) in results.runs["weight of recovery", "imder"].items():
            rows.append([title, pattern, weight, *(apart(results, pattern, m) for m in ("accuracy", "nll"))])
    return table(["corpus", "available", "weight", "accuracy, points", "NLL"], rows)


def recovered(metric: str) -> dict[str, Results]:
    """The corpora with this metric on which both `imder` and late fusion with the same context and members were measured."""
    measured = read().items()
    return {n: r for n, r in measured if COLUMNS[n][0] == metric and {"imder", CONTEXT} <= set(r.systems())}


def unweighted(results: Results, pattern: str) -> str:
    """The differences where recovery has no weight: usually none."""
    numbers = {
        words: apart(results, pattern, m) for m, words in (("mae", "MAE"), ("corr", "correlation"), ("crps", "CRPS"))
    }
    if all(float(number.split()[0]) == 0 for number in numbers.values()):
        return "weight 0: no difference"
    return "weight 0: " + ", ".join(f"{words} {number}" for words, number in numbers.items())


def apart(results: Results, pattern: str, metric: str) -> str:
    """IMDer minus late fusion with context, with an interval where one was measured and isn't 0."""
    key = ("fixed", pattern, metric)
    if (*key, CONTEXT) in results.differences:
        middle, low, high = (negated(text) for text in results.differences[*key, CONTEXT])
        return f"{middle} ({high} to {low})" if float(low) or float(high) else middle
    mine, theirs = (float(results.values[*key, system][0]) for system in ("imder", CONTEXT))
    return f"{round(mine - theirs, 3) + 0.0:+.3f}"


def negated(text: str) -> str:
    """A number with the other sign, with the same digits."""
    return text if not float(text) else text.translate(str.maketrans("+-", "-+"))


def context() -> str:
    """Late fusion with context and members minus late fusion, at a few rates."""
    rows = []
    for name, results in read().items():
        metrics = (
            {"mae": "MAE", "corr": "correlation"}
            if COLUMNS[name][0] == "mae"
            else {"accuracy": "accuracy", "nll": "NLL"}
        )
        for metric, words in metrics.items():
            row = [f"{COLUMNS[name][1].partition(',')[0]}, {words}"]
            for rate in ("0", "0.3", "0.5", "0.7", "average"):
                key = ("random", rate, metric, CONTEXT)
                if rate in shown_rates(results) and key in results.from_plain:
                    row.append("{} ({} to {})".format(*results.from_plain[key]))
                else:
                    row.append("–")
            rows.append(row)
    return table(["", "MR 0", "MR 0.3", "MR 0.5", "MR 0.7", "average"], rows)


def members() -> str:
    """What members and context bring each by itself on ``mosi_standard``, and their seconds."""
    results = read_results("mosi_standard")
    rows = []
    words = {
        PLAIN: "one, no context, dropout .3",
        "late-fusion:one-member": "one, context",
        "late-fusion:members": "8, no context",
        CONTEXT: "8, context",
    }
    for system in [s for s in words if s in results.systems()]:
        cells = [value(results, ("random", "average", metric, system)) for metric in ("mae", "corr", "crps")]
        rows.append([f"`{system}`", words[system], *cells, results.runs["training seconds", system][""][0]])
    return table(["system", "members", "MAE", "correlation", "CRPS", "seconds"], rows)


def losses() -> str:
    """For each system the largest loss from adding a modality, in each corpus."""
    measured = read()
    rows = [
        [f"`{system}`", *(largest_loss(results, system, COLUMNS[name][0]) for name, results in measured.items())]
        for system in SYSTEMS
        if any((system, COLUMNS[name][0]) in results.additions for name, results in measured.items())
    ]
    return table(["system", *(COLUMNS[name][1] for name in measured)], rows)
