"""The verbs of the command line, and what each does."""

VERBS = {
    "quickstart": "aspire run experiment=quickstart: see it work, minutes on a laptop",
    "run": "the whole pipeline: a baseline without and with ASPIRE, then table and report",
    "train": "one baseline on one dataset, with the chosen augmentation",
    "tune": "the settings with which a method does best on the val split",
    "discover": "which features is a classifier leaning on? caption, extract, edit, score",
    "generate": "personalise, generate, filter: the augmented set",
    "evaluate": "a finished run on a dataset: every group metric",
    "predict": "what a finished run says of pictures, labelled or not",
    "sweep": "the jobs of a sweep: which are done, running, failed, and why",
    "table": "results of many runs, mean and standard deviation over seeds",
    "report": "one self-contained HTML page about a finished run, discovery or sweep",
    "review": "a page on which a person accepts, rejects and sorts what was found and made",
    "rerun": "a finished run again from its folder; says whether the numbers are the same",
    "diff": "two runs side by side: settings, code, data, environment, results",
    "wandb": "uploads, a dashboard, and sweeps driven by W&B's agents",
    "data": "list, show, download, add, verify, preview and export datasets",
    "list": "every choice there is, what it is, and which model it fetches",
    "new": "a choice of your own: code, yaml and a test that pass as they are",
    "hparams": "the settings of hparams=unified, paper and mini, each with its source",
    "doctor": "versions, devices, disk, network, missing extras",
}
