"""The words of a page that a reader may not know; docs/glossary.md has all of them."""

GLOSSARY = {
    "AUROC": "area under the ROC curve: how often a positive gets a higher probability than a "
    "negative; .5 is chance, 1 is perfect",
    "AUPRC": "area under the precision-recall curve; chance gives the prevalence",
    "annotated class": "a class that a source's readers labelled wherever it was there; of any "
    "other class nothing is known, and it is left out of the loss and of every measure",
    "Brier score": "mean squared distance between probability and truth; smaller is better",
    "Brier skill": "how much smaller the Brier score is than that of always saying the prevalence; "
    "0 is no better than that, 1 is perfect",
    "calibration intercept": "0 if the probabilities are right on average; below 0 they are too "
    "high",
    "calibration slope": "1 if the probabilities are as extreme as they should be; below 1 they "
    "are too extreme",
    "central records": "test records that no hospital holds, kept at the server in a simulation",
    "decision curve": "net benefit of acting on the model at each threshold probability, beside "
    "acting on everybody and on nobody",
    "ECE": "expected calibration error: mean distance between predicted and observed share",
    "F1": "harmonic mean of precision and recall: one number for the quality of decisions",
    "interval": "95% interval by bootstrap: patients are drawn again and again, and the middle 95% "
    "of the results is given",
    "local training": "each hospital trains on its own records only",
    "macro average": "the mean over the classes that a group can measure, each class counting once",
    "negative predictive value (NPV)": "share of those called negative who are",
    "non-inferior": "the interval ends above minus the margin that was written before the run",
    "pooled training": "all hospitals' training records in one place",
    "positive predictive value (precision)": "share of those called positive who are",
    "round": "every participating hospital trains once, and the server aggregates",
    "sensitivity (recall)": "share of the positives who are found",
    "specificity": "share of the negatives who are called negative",
    "strategy": "how a federation trains and aggregates: FedAvg, FedProx, SCAFFOLD, ...",
    "threshold": "the probability from which a class is predicted, per class and source",
    "unseen source": "a source, or a hospital, that nobody trained on",
    "window": "10 s of a long recording; several windows are one patient",
}
