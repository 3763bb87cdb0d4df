"""What a hospital is shown before it joins: what leaves it and what does not, on one screen."""

from pathlib import Path

import fl
from clients.deploy.site_policy.policy_file import POLICY
from clients.deploy.site_settings import SiteSettings
from fl.messages.invitation import Invitation


def egress_notice(invitation: Invitation, settings: SiteSettings) -> str:
    """What leaves this hospital, and what does not."""
    few = settings.min_count
    return f"""
HeartFed {fl.__version__}, federation {invitation.federation!r}: this site is {settings.site!r}
Research software. Not a medical device: no result of it may guide the care of a patient.

What leaves this hospital, encrypted, to {invitation.address} alone:
  - the weights of the network after each training
  - numbers of patients for training, validation and test, and of training records; per lead
    and per annotated class, of patients (of records, where sites count by them)
  - histograms: how many patients of each class got which range of scores; summed losses
  - at the end, measures over all test records (F1, AUROC, ...), per class and together
  - this site's name, the names of its data sets, its public key, its signature of each reply
  - if something fails, one of a few general reasons, never the text of the error
Every reply is checked against this list before it is sent. Nothing is reported of a class that
fewer than {few} patients show, or that fewer than {few} lack (--min-count).

What the coordinator may ask of this site: {Path(settings.folder) / POLICY}

What does not leave: recordings, patients, names of records and files, ages, sexes, the
prediction of any single record, this site's private key. No message has a place for them.
Weights are learnt from the recordings, and whoever sees the weights could try to learn about
the recordings. docs/deploy.md says what is known of this and what is not done against it.

The program that runs is the one installed here; none is accepted from the coordinator.
Log, audit log, splits, predictions and this site's own report: {settings.folder}
"""
