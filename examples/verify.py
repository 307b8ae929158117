#!/usr/bin/env python3
"""Verifies a receipt, written from docs/receipt-format.md and docs/receipt-statements.md alone.

    verify.py RECEIPT KEYRING [--input FILE] [--output FILE]
    verify.py --lines KEYRING < lines        each line the base64 of a receipt; a verdict a line

It prints "verified" or the reason of the refusal, and exits 0 or 7.

It needs Python 3.9 and the package `cryptography` (Debian: python3-cryptography), and nothing else.
"""

import base64
import binascii
import hashlib
import json
import re
import sys
from functools import lru_cache

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    sys.exit("verify.py needs the package cryptography: apt-get install python3-cryptography")

MAX_FILE = 262_144
MAX_NOTE = 65_536
SAFE = 2**53 - 1


class Refused(Exception):
    """A receipt that is not believed; the first argument is the reason."""


def must(holds, reason):
    if not holds:
        raise Refused(reason)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


# --- Base64 and JSON, each in its one spelling ---------------------------------------------------------------


def strict_base64(text):
    """The bytes of canonical base64, or None."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        return None
    return data if base64.b64encode(data).decode() == text else None


def number_text(value):
    """A number as ECMAScript writes it."""
    if isinstance(value, int) and abs(value) <= SAFE:
        return str(value)
    number = float(value)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError("no number of JSON")
    if number == 0:
        return "0"
    sign, number = ("-", -number) if number < 0 else ("", number)
    mantissa, exponent = ("%r" % number, 0)
    if "e" in mantissa:
        mantissa, power = mantissa.split("e")
        exponent = int(power)
    whole, _, part = mantissa.partition(".")
    digits = (whole + part).lstrip("0")
    point = len(whole) + exponent - (len(whole + part) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    tail = "." + digits[1:] if count > 1 else ""
    return "%s%s%se%+d" % (sign, digits[0], tail, point - 1)


ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
SPECIAL = re.compile('["\\\\\x00-\x1f\ud800-\udfff]')


def string_text(value):
    return '"' + SPECIAL.sub(lambda m: ESCAPES.get(m.group(), "\\u%04x" % ord(m.group())), value) + '"'


def json_text(value):
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return number_text(value)
    if isinstance(value, str):
        return string_text(value)
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    return "{" + ",".join(string_text(name) + ":" + json_text(item) for name, item in value.items()) + "}"


def no_constant(_):
    raise ValueError("no number of JSON")


def compact_json(data):
    """The value of compact JSON; anything else is malformed."""
    try:
        text = data.decode("utf-8")
        value = json.loads(text, parse_constant=no_constant)
        must(json_text(value) == text, "malformed")
        return value
    except (ValueError, OverflowError, RecursionError):
        raise Refused("malformed") from None


# --- What members may be -------------------------------------------------------------------------------------

OPTIONAL = object()


def is_int(value, least=0, most=SAFE):
    """A number that is whole, also where it was written with an exponent."""
    return is_number(value) and value == int(value) and least <= value <= most


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1.8e308


def text_like(pattern):
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def text_of(least, most):
    return lambda value: isinstance(value, str) and least <= len(value) <= most


def whole(least=0, most=SAFE):
    return lambda value: is_int(value, least, most)


def share(value):
    return is_number(value) and 0 <= value <= 1


def positive_share(value):
    return share(value) and value > 0


def not_negative(value):
    return is_number(value) and value >= 0


def literal(wanted):
    return lambda value: value is wanted if isinstance(wanted, bool) else isinstance(value, str) and value == wanted


def one_of(*words):
    return lambda value: isinstance(value, str) and value in words


def boolean(value):
    return isinstance(value, bool)


def list_of(item, least=0, most=SAFE):
    return lambda value: isinstance(value, list) and least <= len(value) <= most and all(map(item, value))


def tuple_of(*items):
    return lambda value: (
        isinstance(value, list) and len(value) == len(items) and all(check(one) for check, one in zip(items, value))
    )


def members(**shape):
    """An object with exactly these members; those whose names end in _ may be absent."""
    required = {name for name in shape if not name.endswith("_")}
    checks = {name.rstrip("_"): check for name, check in shape.items()}
    return lambda value: (
        isinstance(value, dict)
        and required <= value.keys() <= checks.keys()
        and all(checks[name](item) for name, item in value.items())
    )


DAY = (
    r"(?:(?:[0-9][0-9][2468][048]|[0-9][0-9][13579][26]|[0-9][0-9]0[48]|[02468][048]00|[13579][26]00)-02-29"
    r"|[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    r"|02-(?:0[1-9]|1[0-9]|2[0-8])))"
)
CLOCK = r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"

HEX = text_like("[0-9a-f]{64}")
TIME = text_like(DAY + CLOCK + r"\.[0-9]{3}Z")
KEYRING_TIME = text_like(DAY + CLOCK + r"(?:\.[0-9]+)?Z")
NAME = text_like("[a-z0-9][a-z0-9-]{0,62}")
JOB = text_like("job_[0-9a-hjkmnp-tv-z]{30}")
WORKER = text_like("w-[0-9a-f]{32}")
EPOCH = whole(1, 1_000)
COUNT = whole()
AMOUNT = whole(0, 10**15)
DIGEST = members(sha256=HEX)
USAGE = members(inputTokens=COUNT, outputTokens=COUNT)

ENVELOPE = members(
    payloadType=literal("application/vnd.in-toto+json"),
    payload=lambda value: isinstance(value, str),
    signatures=tuple_of(members(keyid=HEX, sig=lambda value: isinstance(value, str))),
)
FILE = members(
    receipt=literal("countersign/v1"),
    ticket=ENVELOPE,
    evidence=ENVELOPE,
    verdict=ENVELOPE,
    log=members(salt=text_of(0, 64), proof=text_of(0, MAX_NOTE)),
)


def subject(name):
    return members(name=literal(name), digest=DIGEST)


def statement(kind, subjects, predicate):
    return members(
        _type=literal("https://in-toto.io/Statement/v1"),
        subject=tuple_of(*map(subject, subjects)),
        predicateType=literal(kind),
        predicate=predicate,
    )


def is_quorum(value):
    shape = members(of=whole(2, 5), agree=whole(2, 5))
    return shape(value) and value["agree"] <= value["of"] < 2 * value["agree"]


POLICY_ORDER = ("recompute", "tokens", "quorum", "tee")
TICKET = statement(
    "urn:countersign:ticket:v1",
    ["input"],
    members(
        job=JOB,
        tenant=NAME,
        pool=NAME,
        model=members(name=NAME, sha256=HEX),
        task=one_of("completion", "chat", "embedding"),
        params=members(
            max_tokens=whole(1, 131_072),
            temperature=lambda value: is_number(value) and 0 <= value <= 2,
            top_p=positive_share,
            seed=whole(0, 4_294_967_295),
            stop=list_of(text_of(1, 64), most=4),
        ),
        inputBytes=COUNT,
        policy=members(recompute=share, tokens_=positive_share, quorum_=is_quorum, tee_=literal(True)),
        attempts=whole(1, 10),
        price_=members(
            table=members(id=text_of(0, 64), sha256=HEX),
            currency=text_like("[A-Z]{3,8}"),
            input=AMOUNT,
            output=AMOUNT,
            second=AMOUNT,
            attestation=AMOUNT,
            hold=AMOUNT,
            fixed_=literal(True),
        ),
        memories_=list_of(members(id=text_like("[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,127}"), sha256=HEX), most=50),
        createdAt=TIME,
        deadline=TIME,
        nonce=text_like("[A-Za-z0-9_-]{43}"),
    ),
)
EVIDENCE = statement(
    "urn:countersign:evidence:v1",
    ["output"],
    members(
        job=JOB,
        ticket=DIGEST,
        epoch=EPOCH,
        worker=members(id=WORKER, publicKey=text_of(0, 64)),
        model=members(name=NAME, sha256=HEX, measured=boolean),
        engine=members(name=NAME, version=text_of(0, 64), sha256=HEX),
        outputBytes=COUNT,
        usage=USAGE,
        finishReason=one_of("stop", "length", "tool_calls", "none"),
        tokens_=DIGEST,
        startedAt=TIME,
        finishedAt=TIME,
    ),
)
BINDING = (
    "TICKET_SIGNATURE",
    "WORKER_ENROLLED",
    "WORKER_SIGNATURE",
    "TICKET_MATCHED",
    "EPOCH_CURRENT",
    "MODEL_DIGEST_MATCHED",
    "OUTPUT_DIGEST_MATCHED",
    "USAGE_WITHIN_BOUNDS",
)
RUNS = {"OUTPUT_RECOMPUTED_EXACT", "OUTPUT_RECOMPUTED_WITHIN_TOLERANCE", "TOKENS_REPLAYED"}
PROPERTIES = (*BINDING, *RUNS, "USAGE_RECOUNTED", "USAGE_RETOKENIZED", "QUORUM_AGREED", "HARDWARE_ATTESTED")
NOT_CHECKED = ("OUTPUT_NOT_RECOMPUTED", "WEIGHTS_DECLARED_NOT_MEASURED", "HARDWARE_NOT_ATTESTED")
HARDWARE = (
    "TEE_TDX_UP_TO_DATE",
    "TEE_TDX_ADVISORIES_ACCEPTED",
    "TEE_SEV_SNP_OK",
    "TEE_NITRO_OK",
    "GPU_SPDM_OK",
    "GPU_NRAS_OK",
)
WARNINGS = ("SNP_MILAN_KEYS_EXTRACTABLE", "MEMORY_BUS_NOT_TRUSTED")
GPU = text_like("[ -~]{1,100}")
VERDICT = statement(
    "https://in-toto.io/attestation/svr/v0.2",
    ["evidence", "output"],
    members(
        verifier=members(
            id=text_of(0, 200),
            policies=tuple_of(members(uri=literal("urn:countersign:policy:v1"), digest=DIGEST)),
        ),
        timeCreated=TIME,
        properties=list_of(one_of(*PROPERTIES), most=len(PROPERTIES)),
        job=JOB,
        epoch=EPOCH,
        ticket=DIGEST,
        decision=one_of("confirmed", "refuted"),
        ranMs_=COUNT,
        recompute=members(promisedShare=share, drawn=boolean, maxAbsDiff_=not_negative),
        tokens_=members(
            promisedShare=share,
            drawn=boolean,
            tokens_=COUNT,
            margin_=not_negative,
            limit_=not_negative,
            calibration_=DIGEST,
        ),
        usage_=USAGE,
        quorum_=members(
            of=COUNT,
            agree=COUNT,
            votes=list_of(members(epoch=EPOCH, worker=WORKER, operator=NAME, evidence=DIGEST), most=5),
        ),
        hardware_=members(
            evidence=DIGEST,
            policy=DIGEST,
            verifiedAt=TIME,
            properties=list_of(one_of(*HARDWARE), 1, len(HARDWARE)),
            warnings=list_of(one_of(*WARNINGS), most=len(WARNINGS)),
            gpus_=list_of(GPU, 1, 64),
        ),
        notChecked=list_of(one_of(*NOT_CHECKED), most=len(NOT_CHECKED)),
        refusals=list_of(text_of(0, 80), most=20),
    ),
)


def ms_of(time):
    """Milliseconds since 1970; also for years that datetime has not."""
    year, month, day = int(time[0:4]), int(time[5:7]), int(time[8:10])
    fraction = time[20:-1] if len(time) > 20 else ""
    shifted = year - (month <= 2)
    era, of_era = divmod(shifted, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    days = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    seconds = days * 86_400 + int(time[11:13]) * 3_600 + int(time[14:16]) * 60 + int(time[17:19])
    return seconds * 1_000 + int((fraction + "000")[:3])


# --- Keys ----------------------------------------------------------------------------------------------------

P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
NEUTRAL = bytes([1]) + bytes(31)


def add(one, other):
    """Two points of edwards25519 in extended coordinates (RFC 8032, section 5.1.4)."""
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c = 2 * one[3] * other[3] * D % P
    d = 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


@lru_cache(maxsize=4_096)
def is_public_key(raw):
    """Whether 32 bytes are the canonical encoding of a point of the prime-order group, and not the neutral one."""
    if len(raw) != 32 or raw == NEUTRAL:
        return False
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return False
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P != 0:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P != 0 or (x == 0 and sign):
        return False
    if x & 1 != sign:
        x = P - x
    total, point, scalar = (0, 1, 1, 0), (x, y, 1, x * y % P), GROUP_ORDER
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point, scalar = add(point, point), scalar >> 1
    return total[0] % P == 0 and (total[1] - total[2]) % P == 0


def key_id(raw):
    return sha256(bytes.fromhex("302a300506032b6570032100") + raw)


def verifies(raw, data, signature):
    if len(signature) != 64 or signature[:32] == NEUTRAL:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, data)
        return True
    except InvalidSignature:
        return False


# --- The keyring and its log policy --------------------------------------------------------------------------

KEYRING = members(
    version=lambda value: is_int(value, 1, 1),
    keys=list_of(
        members(
            id=HEX,
            role=one_of("api", "worker", "attestor", "registry"),
            publicKey=text_of(0, 64),
            notBefore=KEYRING_TIME,
            notAfter=lambda value: value is None or KEYRING_TIME(value),
        ),
        1,
        1_000,
    ),
    logPolicy=text_of(0, 65_536),
)


class Keyring:
    def __init__(self, data):
        file = json.loads(data)
        if not KEYRING(file):
            raise ValueError("this is no keyring")
        self.keys = {}
        for entry in file["keys"]:
            raw = strict_base64(entry["publicKey"])
            if raw is None or not is_public_key(raw) or key_id(raw) != entry["id"]:
                raise ValueError("the key %s is malformed" % entry["id"])
            self.keys[entry["role"], entry["id"]] = (raw, entry)
        self.policy = LogPolicy(file["logPolicy"])

    def find(self, role, identity, at_ms):
        raw, entry = self.keys.get((role, identity), (None, None))
        must(raw is not None, "untrusted_key")
        must(at_ms >= ms_of(entry["notBefore"]) - 1_000, "untrusted_key")
        must(entry["notAfter"] is None or at_ms <= ms_of(entry["notAfter"]), "untrusted_key")
        return raw


class LogPolicy:
    """A C2SP tlog-policy. Keys of kinds that are not known here are passed over."""

    def __init__(self, text):
        if re.search("[\x00-\x08\x0b-\x1f\x7f]", text):
            raise ValueError("the log policy holds control characters")
        self.logs, self.witnesses, self.rules, self.quorum = [], [], {}, None
        self.used, self.seen = set(), set()
        for line in text.split("\n"):
            words = [word for word in re.split("[ \t]+", line) if word]
            if words and not words[0].startswith("#"):
                getattr(self, "add_" + words[0], self.refuse)(*words[1:])
        if not self.logs or self.quorum is None:
            raise ValueError("the log policy names no log or no quorum")

    def refuse(self, *_):
        raise ValueError("a line of the log policy is malformed")

    def vkey(self, text, kind, role):
        """Name, four bytes of id and key; None for a kind of key that is not known."""
        match = re.fullmatch(r"([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)", text)
        data = strict_base64(match.group(3)) if match else None
        if not data or (role, data) in self.seen:
            self.refuse()
        self.seen.add((role, data))
        if data[0] not in (1, 4):
            return None
        name, raw = match.group(1), data[1:]
        identity = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
        if data[0] != kind or not is_public_key(raw) or identity.hex() != match.group(2):
            self.refuse()
        return name, identity, raw

    def define(self, name, rule):
        if name == "none" or name in self.rules:
            self.refuse()
        self.rules[name] = rule

    def add_log(self, vkey, _url=""):
        key = self.vkey(vkey, 1, "log")
        if key is not None:
            self.logs.append(key)

    def add_witness(self, name, vkey, _url=""):
        key = self.vkey(vkey, 4, "witness")
        if key is not None:
            self.witnesses.append((name, key))
        self.define(name, lambda signed: name in signed)

    def add_group(self, name, wanted, *names):
        least = {"any": 1, "all": len(names)}.get(wanted) or (int(wanted) if re.fullmatch("[1-9][0-9]*", wanted) else 0)
        known = all(member in self.rules and member not in self.used for member in names)
        if not known or len(set(names)) != len(names) or not 1 <= least <= len(names):
            self.refuse()
        self.used |= set(names)
        rules = [self.rules[member] for member in names]
        self.define(name, lambda signed: sum(rule(signed) for rule in rules) >= least)

    def add_quorum(self, name):
        if self.quorum is not None or (name != "none" and name not in self.rules):
            self.refuse()
        self.quorum = (lambda signed: True) if name == "none" else self.rules[name]


# --- The log -------------------------------------------------------------------------------------------------


def parse_size(text):
    match = re.fullmatch("0|[1-9][0-9]{0,15}", text)
    must(match is not None and int(text) <= SAFE, "not_logged")
    return int(text)


def hash_of(line):
    data = strict_base64(line)
    must(data is not None and len(data) == 32, "not_logged")
    return data


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaf, index, size, hashes):
    """RFC 9162, section 2.1.3.2."""
    must(index < size, "not_logged")
    here, last, value = index, size - 1, leaf
    for sibling in hashes:
        must(last > 0, "not_logged")
        if here % 2 == 1 or here == last:
            value = node(sibling, value)
            while here % 2 == 0 and here != 0:
                here, last = here // 2, last // 2
        else:
            value = node(value, sibling)
        here, last = here // 2, last // 2
    must(last == 0, "not_logged")
    return value


def signature_times(policy, origin, text, lines):
    """Each line must be by a key of the policy. The times of the witnesses', by their names in the policy."""
    logs = {(name, identity): raw for name, identity, raw in policy.logs if name == origin}
    witnesses = {(name, identity): (own, raw) for own, (name, identity, raw) in policy.witnesses}
    times, used, groups = {}, set(), ([], [])
    for line in lines:
        match = re.fullmatch("\u2014 ([^ ]+) ([^ ]+)", line)
        data = strict_base64(match.group(2)) if match else None
        must(data is not None and len(data) >= 5, "not_logged")
        signer, signature = (match.group(1), data[:4]), data[4:]
        must(signer not in used, "not_logged")
        used.add(signer)
        if signer in logs:
            must(verifies(logs[signer], text.encode(), signature), "not_logged")
            must(not groups[1], "not_logged")
            groups[0].append(line.encode())
            continue
        must(signer in witnesses and len(signature) == 72, "not_logged")
        name, raw = witnesses[signer]
        seconds = int.from_bytes(signature[:8], "big")
        signed = "cosignature/v1\ntime %d\n%s" % (seconds, text)
        must(seconds <= SAFE and verifies(raw, signed.encode(), signature[8:]), "not_logged")
        times[name] = seconds
        groups[1].append(line.encode())
    must(groups[0] and all(group == sorted(group) for group in groups), "not_logged")
    return times


def verify_logged(policy, proof, entry):
    """When the quorum was complete, in seconds; None where no witness has signed."""
    must(len(proof.encode("utf-8", "surrogatepass")) <= MAX_NOTE, "not_logged")
    head, found, note = proof.partition("\n\n")
    lines = head.split("\n")
    must(found and len(lines) >= 2 and lines[0] == "c2sp.org/tlog-proof@v1", "not_logged")
    must(lines[1].startswith("index ") and len(lines) <= 2 + 53, "not_logged")
    index = parse_size(lines[1][len("index ") :])
    hashes = [hash_of(line) for line in lines[2:]]
    must(not re.search("[\x00-\x09\x0b-\x1f\ufffd\ud800-\udfff]", note), "not_logged")
    text, found, signatures = note.rpartition("\n\n")
    must(found and signatures.endswith("\n") and signatures.count("\n") <= 100, "not_logged")
    text += "\n"
    parts = text.split("\n")
    must(len(parts) >= 4, "not_logged")
    origin, size, root = parts[0], parse_size(parts[1]), hash_of(parts[2])
    times = signature_times(policy, origin, text, signatures[:-1].split("\n"))
    leaf = hashlib.sha256(b"\x00" + entry).digest()
    must(root_of(leaf, index, size, hashes) == root, "not_logged")
    must(policy.quorum(set(times)), "not_logged")
    signed = set()
    for name, seconds in sorted(times.items(), key=lambda item: item[1]):
        signed.add(name)
        if policy.quorum(signed):
            return seconds
    return None


# --- Promises ------------------------------------------------------------------------------------------------


VOTE = ("operator", "worker", "epoch", "evidence")


def check_promises(ticket, evidence, evidence_sha, verdict):
    """docs/receipt-statements.md, "Promises"; each line is one of its sentences."""

    def keeps(*holds):
        must(all(holds), "promise_not_kept")

    words, gaps, policy, task = set(verdict["properties"]), set(verdict["notChecked"]), ticket["policy"], ticket["task"]
    # binding
    keeps(
        set(BINDING) <= words,
        ms_of(evidence["finishedAt"]) >= ms_of(evidence["startedAt"]),
        (evidence["finishReason"] == "none") == (task == "embedding"),
    )
    # recompute
    said = verdict["recompute"]
    exact, tolerant = "OUTPUT_RECOMPUTED_EXACT" in words, "OUTPUT_RECOMPUTED_WITHIN_TOLERANCE" in words
    keeps(
        said["promisedShare"] == policy["recompute"],
        said["drawn"] or policy["recompute"] != 1,
        said["drawn"] == (exact or tolerant),
        not (exact and tolerant),
        ("OUTPUT_NOT_RECOMPUTED" in gaps) != said["drawn"],
        tolerant == ("maxAbsDiff" in said),
        not tolerant or (task == "embedding" and said.get("maxAbsDiff", 1) <= 0.0001),
    )
    # weights
    keeps(("WEIGHTS_DECLARED_NOT_MEASURED" in gaps) != evidence["model"]["measured"])
    # tokens
    said = verdict.get("tokens")
    drawn = said is not None and said["drawn"]
    keeps(
        (said and said["promisedShare"]) == policy.get("tokens"),
        drawn or policy.get("tokens") != 1,
        drawn == ("TOKENS_REPLAYED" in words),
    )
    measured = said.keys() & {"tokens", "margin", "limit", "calibration"} if said else set()
    if drawn:
        tokens = evidence["usage"]["outputTokens"]
        keeps(
            len(measured) == 4 and said["margin"] <= said["limit"],
            "tokens" in evidence and task != "embedding",
            len(measured) == 4 and min(tokens, 1) <= said["tokens"] <= tokens + 1,
        )
    else:
        keeps(not measured)
    # usage
    own = verdict.get("usage")
    keeps(
        ("USAGE_RECOUNTED" in words) == bool(RUNS & words),
        ("USAGE_RETOKENIZED" in words) == (own is not None),
        own is None or own["inputTokens"] == evidence["usage"]["inputTokens"],
        own is None or own["outputTokens"] <= evidence["usage"]["outputTokens"],
    )
    # quorum
    wanted, said = policy.get("quorum"), verdict.get("quorum")
    keeps((wanted is None) == (said is None), ("QUORUM_AGREED" in words) == (wanted is not None))
    if said is not None:
        votes = said["votes"]
        mine = [vote for vote in votes if vote["epoch"] == verdict["epoch"]]
        keeps(
            (said["of"], said["agree"]) == (wanted["of"], wanted["agree"]),
            wanted["agree"] <= len(votes) <= wanted["of"],
            all(len({json_text(vote[name]) for vote in votes}) == len(votes) for name in VOTE),
            all(vote["epoch"] <= verdict["epoch"] for vote in votes),
            [(vote["worker"], vote["evidence"]["sha256"]) for vote in mine] == [(evidence["worker"]["id"], evidence_sha)],
        )
    # tee
    hardware = verdict.get("hardware")
    attested = hardware is not None
    keeps(
        attested or "tee" not in policy,
        ("HARDWARE_ATTESTED" in words) == attested,
        ("HARDWARE_NOT_ATTESTED" in gaps) != attested,
    )
    if attested:
        found, warnings = hardware["properties"], hardware["warnings"]
        late = ms_of(hardware["verifiedAt"]) - ms_of(verdict["timeCreated"])
        keeps(
            len(set(found)) == len(found) and len(set(warnings)) == len(warnings),
            -3_660_000 <= late <= 60_000,
            sum(word.startswith("TEE_") for word in found) == 1,
            sum(word.startswith("GPU_") for word in found) <= 1,
            any(word.startswith("GPU_") for word in found) == ("gpus" in hardware),
            "SNP_MILAN_KEYS_EXTRACTABLE" not in warnings or "TEE_SEV_SNP_OK" in found,
            "MEMORY_BUS_NOT_TRUSTED" not in warnings or "TEE_NITRO_OK" not in found,
        )


# --- The receipt ---------------------------------------------------------------------------------------------


def open_statement(envelope, shape):
    payload = strict_base64(envelope["payload"])
    signature = strict_base64(envelope["signatures"][0]["sig"])
    must(payload is not None and signature is not None, "malformed")
    value = compact_json(payload)
    must(shape(value), "malformed")
    return value, payload, signature, envelope["signatures"][0]["keyid"]


def require_signature(raw, payload, signature):
    kind = b"application/vnd.in-toto+json"
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    must(verifies(raw, signed, signature), "bad_signature")


def in_order(value, *names):
    return {name: value[name] for name in names if name in value}


def policy_digest(policy):
    ordered = in_order(policy, *POLICY_ORDER)
    if "quorum" in ordered:
        ordered["quorum"] = in_order(ordered["quorum"], "of", "agree")
    return sha256(json_text(ordered).encode())


def is_in_order(file):
    """Whether the members of the file, which nobody signs, stand in their order."""
    envelopes = [file["ticket"], file["evidence"], file["verdict"]]
    return (
        list(file) == ["receipt", "ticket", "evidence", "verdict", "log"]
        and list(file["log"]) == ["salt", "proof"]
        and all(list(envelope) == ["payloadType", "payload", "signatures"] for envelope in envelopes)
        and all(list(envelope["signatures"][0]) == ["keyid", "sig"] for envelope in envelopes)
    )


def verify(data, keyring, input_bytes=None, output_bytes=None):
    """The three predicates of a receipt that holds. Raises Refused with the reason of the first that does not."""
    must(len(data) <= MAX_FILE, "too_large")
    must(data.endswith(b"\n"), "malformed")
    file = compact_json(data[:-1])
    must(FILE(file) and is_in_order(file), "malformed")

    verdict, verdict_payload, signature, verdict_key = open_statement(file["verdict"], VERDICT)
    decided = ms_of(verdict["predicate"]["timeCreated"])
    require_signature(keyring.find("attestor", verdict_key, decided), verdict_payload, signature)

    ticket, ticket_payload, signature, identity = open_statement(file["ticket"], TICKET)
    created = ms_of(ticket["predicate"]["createdAt"])
    require_signature(keyring.find("api", identity, created), ticket_payload, signature)

    evidence, evidence_payload, signature, identity = open_statement(file["evidence"], EVIDENCE)
    worker = evidence["predicate"]["worker"]
    raw = strict_base64(worker["publicKey"])
    must(raw is not None and is_public_key(raw), "wrong_worker")
    must(worker["id"] == "w-" + key_id(raw)[:32] and identity == key_id(raw), "wrong_worker")
    require_signature(raw, evidence_payload, signature)

    asked, answered, judged = ticket["predicate"], evidence["predicate"], verdict["predicate"]
    output = evidence["subject"][0]["digest"]["sha256"]
    must(answered["ticket"]["sha256"] == judged["ticket"]["sha256"] == sha256(ticket_payload), "mismatch")
    must(verdict["subject"][0]["digest"]["sha256"] == sha256(evidence_payload), "mismatch")
    must(verdict["subject"][1]["digest"]["sha256"] == output, "mismatch")
    must(asked["job"] == answered["job"] == judged["job"] and answered["epoch"] == judged["epoch"], "mismatch")
    must({**answered["model"], "measured": None} == {**asked["model"], "measured": None}, "mismatch")
    must(judged["verifier"]["policies"][0]["digest"]["sha256"] == policy_digest(asked["policy"]), "mismatch")
    named = ms_of(answered["finishedAt"]) - ms_of(answered["startedAt"])
    must(judged.get("ranMs") is None or judged["ranMs"] <= named, "mismatch")

    must(judged["decision"] == "confirmed" and not judged["refusals"], "not_confirmed")
    for words in (judged["properties"], judged["notChecked"]):
        must(len(set(words)) == len(words), "malformed")
    check_promises(asked, answered, sha256(evidence_payload), judged)

    salt = strict_base64(file["log"]["salt"])
    must(salt is not None and len(salt) == 32, "malformed")
    domain = "countersign/log-entry/v1"
    digest = sha256(domain.encode() + b"\0verdict\0" + salt + verdict_payload)
    entry = json_text({"type": domain + "/verdict", "keyid": verdict_key, "digest": digest})
    seen = verify_logged(keyring.policy, file["log"]["proof"], entry.encode())
    must(decided >= created - 60_000, "mismatch")
    must(seen is None or decided <= seen * 1_000 + 60_000, "mismatch")

    must(input_bytes is None or sha256(input_bytes) == ticket["subject"][0]["digest"]["sha256"], "wrong_input")
    must(output_bytes is None or sha256(output_bytes) == output, "wrong_output")
    return asked, answered, judged


def read(path):
    with open(path, "rb") as file:
        return file.read()


def reason_of(*arguments):
    try:
        verify(*arguments)
        return "verified"
    except Refused as refused:
        return refused.args[0]


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "--lines":
        keyring = Keyring(read(arguments[1]))
        for line in sys.stdin:
            print(reason_of(base64.b64decode(line), keyring))
        return 0
    options = dict(zip(arguments[2::2], arguments[3::2]))
    if len(arguments) < 2 or len(arguments) % 2 or not options.keys() <= {"--input", "--output"}:
        sys.exit(__doc__)
    documents = [read(options[name]) if name in options else None for name in ("--input", "--output")]
    found = reason_of(read(arguments[0]), Keyring(read(arguments[1])), *documents)
    print(found)
    return 0 if found == "verified" else 7


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
