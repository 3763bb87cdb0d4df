"""The other data sets of the PhysioNet/CinC Challenges 2020 and 2021.

Which classes count as annotated follows from how often each source uses their codes (the
Challenge's own table, github.com/physionetchallenges/evaluation-2021, dx_mapping_*.csv). A code
that a source of thousands of records hardly uses, or replaces by another, was not looked for in
every record, so a record without it may still show the class. Codes that leave a class open in
one record (`SNOMED_OPEN`) mask it in that record alone.
"""

from fl.datasets.base import Card
from fl.datasets.readers.challenge_records import Challenge
from fl.ecg.labels import infarction_of_ptb_codes
from fl.ecg.records import LEADS

_CODES = (
    "SNOMED CT codes as scored in the PhysioNet Challenge 2021; a record of other diagnoses alone "
    "is a known negative. "
)
_ALDAY = (
    "Perez Alday EA, Gu A, Shah AJ, et al. Classification of 12-lead ECGs: the "
    "PhysioNet/Computing in Cardiology Challenge 2020. Physiol Meas 2020;41:124003, "
    "doi:10.1088/1361-6579/abc960."
)
_REYNA = (
    "Reyna MA, Sadr N, Perez Alday EA, et al. Will two do? Varying dimensions in "
    "electrocardiography: the PhysioNet/Computing in Cardiology Challenge 2021. Comput Cardiol "
    "2021, doi:10.23919/CinC53138.2021.9662687."
)
_UNKNOWN = "Not identified: each record counts as a patient of its own."
_2020 = "https://physionet.org/content/challenge-2020/1.0.2/training"
_2021 = "https://physionet.org/content/challenge-2021/1.0.3/training"

GEORGIA = Challenge(
    folder="georgia",
    card=Card(
        name="georgia",
        title="Georgia 12-lead ECG Challenge database",
        leads=LEADS,
        rates=(500.0,),
        annotates=("NSR", "AF", "IAVB", "LBBB", "RBBB", "PAC", "PVC", "STE"),
        mapping=_CODES + "NSR means sinus rhythm, not a normal ECG. Masked: STD, which 38 of "
        "10,344 records carry while 2,600 carry ischaemia or `ST interval abnormal` instead.",
        patients=_UNKNOWN,
        licence="CC BY 4.0",
        citation=_ALDAY,
        url=f"{_2020}/georgia/",
    ),
)

CPSC_EXTRA = Challenge(
    folder="cpsc-extra",
    card=Card(
        name="cpsc-extra",
        title="CPSC-Extra, the unused recordings of CPSC2018",
        leads=LEADS,
        rates=(500.0,),
        annotates=("AF", "IAVB", "LBBB", "RBBB", "PAC", "PVC"),
        mapping=_CODES + "Masked: NSR, which 4 of 3,453 records carry; STD and STE, which 57 "
        "and 66 carry while 1,290 carry `nonspecific ST-T abnormality`.",
        patients=_UNKNOWN,
        licence="CC BY 4.0",
        citation=_ALDAY,
        url=f"{_2020}/cpsc_2018_extra/",
    ),
)

CHAPMAN = Challenge(
    folder="chapman",
    card=Card(
        name="chapman",
        title="Chapman University and Shaoxing People's Hospital",
        leads=LEADS,
        rates=(500.0,),
        annotates=("NSR", "AF", "IAVB", "LBBB", "RBBB", "PAC", "PVC", "STD", "STE"),
        mapping=_CODES + "All nine occur 176 times or more in 10,247 records, each read by two "
        "physicians. NSR means sinus rhythm of normal rate, not a normal ECG.",
        patients="One record per patient (Zheng et al. 2020).",
        licence="CC BY 4.0",
        citation=_REYNA + " Zheng J, Zhang J, Danioko S, et al. A 12-lead electrocardiogram "
        "database for arrhythmia research covering more than 10,000 patients. Sci Data 2020;7:48, "
        "doi:10.1038/s41597-020-0386-x.",
        url=f"{_2021}/chapman_shaoxing/",
    ),
)

NINGBO = Challenge(
    folder="ningbo",
    card=Card(
        name="ningbo",
        title="Ningbo First Hospital",
        leads=LEADS,
        rates=(500.0,),
        annotates=("NSR", "IAVB", "LBBB", "RBBB", "PAC", "PVC", "STD"),
        mapping=_CODES + "NSR means sinus rhythm of normal rate, not a normal ECG. Masked: AF, "
        "which no record of 34,905 carries while 7,615 carry atrial flutter, so that both seem "
        "to share its code; STE, which none carries.",
        patients="One record per patient (Zheng et al. 2020).",
        licence="CC BY 4.0",
        citation=_REYNA + " Zheng J, Chu H, Struppa D, et al. Optimal multi-stage arrhythmia "
        "classification approach. Sci Rep 2020;10:2898, doi:10.1038/s41598-020-59821-7.",
        url=f"{_2021}/ningbo/",
    ),
)

PTB = Challenge(
    folder="ptb",
    infarction=infarction_of_ptb_codes,
    card=Card(
        name="ptb",
        title="PTB Diagnostic ECG Database, in Challenge form",
        leads=LEADS,
        rates=(1000.0,),
        annotates=("NSR",),
        mapping=_CODES + "Its codes are clinical diagnoses of patients, 368 of 516 an infarction; "
        "80 healthy controls are NSR. Masked: every other class, as rhythm, conduction and ST "
        "were noted for few.",
        patients="Not identified in Challenge form, although some have several records: use it "
        "as a whole, for training or for testing.",
        licence="CC BY 4.0",
        citation=_ALDAY + " Bousseljot R, Kreiseler D, Schnabel A. Nutzung der EKG-Signaldatenbank "
        "CARDIODAT der PTB über das Internet. Biomed Tech 1995;40(s1):317.",
        url=f"{_2020}/ptb/",
        infarction="Infarction: one of the codes 164865005, 57054005, 54329005 and 164867002. "
        "None: 426783006 and no other code, which the 80 healthy controls alone have. Left out: "
        "every other diagnosis (`no-infarction-label`).",
    ),
)

INCART_CHALLENGE = Challenge(
    folder="incart-challenge",
    card=Card(
        name="incart-challenge",
        title="St Petersburg INCART 12-lead Arrhythmia Database, in Challenge form",
        leads=LEADS,
        rates=(257.0,),
        annotates=("AF", "PVC"),
        mapping=_CODES + "Its codes sum up half an hour of Holter recording in a few words; "
        "ectopic beats and fibrillation were looked for, the rest was noted for 0 to 7 of 74 "
        "records and is masked.",
        patients="Not identified in Challenge form, although 32 patients gave 75 records: use it "
        "as a whole, for training or for testing, and never beside the source incart.",
        licence="CC BY 4.0",
        citation=_ALDAY + " Goldberger AL, et al. PhysioBank, PhysioToolkit, and PhysioNet. "
        "Circulation 2000;101(23):e215-e220.",
        url=f"{_2020}/st_petersburg_incart/",
    ),
)
