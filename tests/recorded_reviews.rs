//! What real API servers sent to a webhook and stored, read through the canonicaliser: the file, every review of it and
//! every stored form of it have to come out the same.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test"
)]
#![allow(unreachable_pub, dead_code, reason = "the recordings are shared by several tests")]

mod recorded;

use std::collections::{BTreeMap, HashSet};

use headgate::policy::manifest::parse;
use headgate::policy::{Canonical, Placement, Severity, calico_metadata, canonicalize, differences};
use recorded::{Line, canonical, lines};
use serde_json::Value;

/// Why a file that a server accepted is refused in Git, by a part of the message. Where the server keeps something else
/// than was written, the forms cannot be compared.
const KEPT_OTHERWISE: &[(&str, &str)] = &[
    ("is no field of this object", "servers drop unknown fields"),
    ("`namespace` is missing", "the server took it from the request's path"),
    ("`generateName`", "gives another object each time"),
    ("write `types`", "means another thing in each of Calico's modes"),
    ("write `policyTypes`", "means another thing in each of Calico's modes"),
    ("Calico keeps its own copy", "a forged annotation"),
    ("null is read as", "one mode drops the key, the other keeps it"),
];

/// The same, where the forms are equal none the less.
const KEPT_AS_WRITTEN: &[(&str, &str)] = &[
    ("is in the list twice", "refused by Calico from 3.32 on"),
    ("`spec` is missing", "refused in Calico's native mode"),
    ("this is no selector", "nothing checks selectors in direct writes"),
    ("is no port", "nothing checks ports in direct writes"),
    ("ports need a protocol", "nothing checks ports in direct writes"),
    (
        "the list needs at least 1",
        "`types: []` is refused in Calico's native mode",
    ),
];

/// Calico 3.28 has no tiers: it drops the field, and keeps less than it was given.
fn drops_the_tier(line: &Line) -> bool {
    let tier = line.value["input"]["spec"]["tier"].as_str();
    line.folder.ends_with("v3.28.5") && !matches!(tier, None | Some("" | "default"))
}

/// A Tier without an order means another thing in each of Calico's modes, and is refused in Git.
fn leaves_out_the_order(line: &Line) -> bool {
    line.value["input"]["kind"] == "Tier" && line.value["input"]["spec"]["order"].is_null()
}

fn assert_equal(label: &str, git: (&headgate::policy::Key, &Value), other: &Canonical) {
    let told: Vec<String> = differences(git.1, &other.form)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(git.0, &other.key, "{label}");
    assert!(told.is_empty(), "{label}: {told:#?}");
}

/// The canonical form of a line's input, or why it cannot be compared.
fn file(line: &Line, taken_by_calico: &HashSet<String>) -> Result<Canonical, &'static str> {
    let parsed = parse(line.value["input"].to_string().as_bytes());
    if drops_the_tier(line) {
        return Err("kept without its tier by Calico 3.28");
    }
    if leaves_out_the_order(line) {
        return Err("kept with an order by one of Calico's modes");
    }
    let known = |list: &[(&str, &'static str)], message: &str| {
        let found = list.iter().find(|(part, _)| message.contains(part));
        found.map(|(_, reason)| *reason)
    };
    // The native mode checks no rules: there, any refusal of Git's will do.
    let is_lax = line.folder == "native-v3" && !taken_by_calico.contains(&what(line));
    for problem in parsed
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
    {
        if let Some(reason) = known(KEPT_OTHERWISE, &problem.message) {
            return Err(reason);
        }
        let is_known = is_lax || known(KEPT_AS_WRITTEN, &problem.message).is_some();
        assert!(is_known, "{}: {}", line.label(), problem.message);
    }
    let made = canonical(&line.value["input"]).ok_or("of a kind that is not guarded")?;
    for manifest in parsed.manifests {
        assert_equal(&line.label(), (&manifest.key, &manifest.form), &made);
        assert_eq!(manifest.digest, made.digest().unwrap());
    }
    Ok(made)
}

/// What was asked for, on whichever server.
fn what(line: &Line) -> String {
    format!("{} {} {}", line.case, line.value["file"], line.value["input"])
}

#[test]
fn a_file_equals_what_servers_make_of_it() {
    let (mut equal, mut others) = (0, BTreeMap::<&str, usize>::new());
    let lines = lines();
    let by_calico = |line: &&Line| line.folder.ends_with("aggregated-v3.32.1") && line.is_accepted();
    let taken_by_calico: HashSet<String> = lines.iter().filter(by_calico).map(what).collect();
    for line in &lines {
        let reviews = line.reviews();
        let creates = reviews.iter().any(|review| review.operation == "CREATE");
        if !creates || !line.is_accepted() || !line.value["input"].is_object() {
            continue;
        }
        match file(line, &taken_by_calico) {
            Err(reason) => *others.entry(reason).or_default() += 1,
            Ok(file) => {
                let stored = line.stored().into_iter().map(|(_, object)| object);
                let reviewed = reviews.into_iter().filter(|review| review.operation == "CREATE");
                let objects: Vec<Canonical> = reviewed.filter_map(|review| review.object).chain(stored).collect();
                assert!(!objects.is_empty(), "{}", line.label());
                for object in objects {
                    assert_equal(&line.label(), (&file.key, &file.form), &object);
                    assert_eq!(object.digest().unwrap(), file.digest().unwrap());
                    assert_eq!(object.placement, Placement::AsNamed);
                }
                equal += 1;
            }
        }
    }
    eprintln!("equal: {equal} lines; others: {others:#?}");
    let recorded = recorded::shared("reviews").is_some();
    assert!(!recorded || equal > 800, "only {equal} lines were compared");
}

/// The operations that leave another object behind than the v3 review shows: forged annotations.
fn is_forged(line: &Line) -> bool {
    line.case.starts_with("crd/") || line.case.contains("forged")
}

#[test]
fn both_of_calicos_groups_show_one_object() {
    let mut pairs = 0;
    for line in lines().iter().filter(|line| !is_forged(line)) {
        let reviews = line.reviews();
        for pair in reviews.windows(2) {
            let [first, second] = pair else { unreachable!() };
            if first.group.starts_with("crd.") || first.group == second.group || first.operation != second.operation {
                continue;
            }
            // Calico's server fills it in between the two; what has none is refused in Git.
            let is_filled_in =
                |v3: &Canonical| v3.key.kind().definition().kind == "Tier" && v3.form.pointer("/spec/order").is_none();
            for (v3, crd) in [(&first.object, &second.object), (&first.old, &second.old)] {
                if let (Some(v3), Some(crd)) = (v3, crd)
                    && !is_filled_in(v3)
                {
                    assert_equal(&line.label(), (&v3.key, &v3.form), crd);
                    assert_eq!(v3.terminating, crd.terminating, "{}", line.label());
                    pairs += 1;
                }
            }
        }
        if let [(_, first), (_, second)] = line.stored().as_slice() {
            assert_equal(&line.label(), (&first.key, &first.form), second);
            pairs += 1;
        }
    }
    eprintln!("{pairs} pairs of v3 and crd v1 objects are equal");
}

/// `life/<kind>/<step>` starts from the state that the step before left, where no step between them was left out.
#[test]
fn what_was_stored_is_the_old_object_of_the_next_step() {
    let lines = lines();
    let step = |line: &Line| line.case.rsplit('/').next().unwrap().to_owned();
    let whole = |line: &&Line| line.folder.ends_with("v3.32.1") && line.case.starts_with("life/NetworkPolicy/");
    let order: Vec<String> = lines.iter().filter(whole).map(step).collect();
    let follows = |before: &Line, after: &Line| order.windows(2).any(|pair| pair == [step(before), step(after)]);
    let mut steps = 0;
    for pair in lines.windows(2) {
        let [before, after] = pair else { unreachable!() };
        let kind = |line: &Line| {
            line.case
                .strip_prefix("life/")
                .and_then(|rest| rest.split('/').next().map(str::to_owned))
        };
        let same = before.folder == after.folder && kind(before).is_some() && kind(before) == kind(after);
        if !same || !follows(before, after) {
            continue;
        }
        let old = after.reviews().into_iter().next().and_then(|review| review.old);
        if let (Some((_, stored)), Some(old)) = (before.stored().into_iter().next(), old)
            && stored.key == old.key
        {
            assert_equal(&after.label(), (&stored.key, &stored.form), &old);
            steps += 1;
        }
    }
    eprintln!("{steps} steps start from what the step before stored");
}

/// The steps that change nothing anyone decided, and those that do.
#[test]
fn only_real_changes_change_the_form() {
    let unchanged = [
        "put-unchanged",
        "server-side-apply-again",
        "apply-no-op",
        "apply-server-side-no-op",
    ];
    let changed = [
        "patch-label",
        "patch-spec",
        "patch-finalizer",
        "server-side-apply-change",
        "apply-change",
        "label",
        "annotate",
    ];
    let mut counts = (0, 0);
    for line in lines()
        .iter()
        .filter(|line| line.case.starts_with("life/") && line.is_accepted())
    {
        let step = line.case.rsplit('/').next().unwrap();
        for review in line.reviews() {
            let (Some(object), Some(old)) = (review.object, review.old) else {
                continue;
            };
            if unchanged.contains(&step) {
                assert_equal(&line.label(), (&old.key, &old.form), &object);
                counts.0 += 1;
            } else if changed.contains(&step) {
                assert_ne!(object.form, old.form, "{}", line.label());
                counts.1 += 1;
            }
        }
    }
    eprintln!("{} updates change nothing, {} change something", counts.0, counts.1);
}

#[test]
fn a_deletion_with_finalizers_changes_only_finalizers_and_terminates() {
    for line in lines() {
        let deleting = [
            "delete-with-finalizer",
            "delete-propagation-Foreground",
            "delete-propagation-Orphan",
        ];
        if !deleting.iter().any(|step| line.case.ends_with(step)) {
            continue;
        }
        let reviews = line.reviews();
        let stored = reviews
            .iter()
            .find(|review| review.group.starts_with("crd.") && review.operation == "UPDATE");
        let Some(update) = stored else { continue };
        let (object, old) = (update.object.as_ref().unwrap(), update.old.as_ref().unwrap());
        assert!(object.terminating && !old.terminating, "{}", line.label());
        assert_eq!(
            object.form_without_finalizers(),
            old.form_without_finalizers(),
            "{}",
            line.label()
        );
        assert!(!object.finalizers().is_empty(), "{}", line.label());
    }
}

/// A v3 object that carries Calico's annotation would replace the metadata Calico writes itself.
#[test]
fn forged_annotations_are_seen_on_both_sides() {
    let mut seen = 0;
    for line in lines().iter().filter(|line| line.case.contains("forged")) {
        for review in line.value["reviews"].as_array().unwrap() {
            let object = &review["request"]["object"];
            let made = canonical(object).unwrap();
            if object["apiVersion"] == "projectcalico.org/v3" {
                assert!(calico_metadata(object).is_some(), "{}", line.label());
                let kept = made.form.pointer("/metadata/annotations/projectcalico.org~1metadata");
                assert!(kept.is_some(), "{}", line.label());
            } else {
                let asked = canonicalize(line.value["input"].clone()).ok();
                assert_ne!(
                    Some(&made.form),
                    asked.as_ref().map(|asked| &asked.form),
                    "{}",
                    line.label()
                );
            }
            seen += 1;
        }
    }
    let recorded = recorded::shared("reviews").is_some();
    assert!(!recorded || seen >= 4, "{seen}");
}

/// Direct writes to `crd.projectcalico.org/v1`: the name v3 gives the object, and whether it is stored in its place.
#[test]
fn direct_writes_get_the_name_that_calico_gives_them() {
    let expected = [
        ("crd/plain", "d1", Placement::AsNamed),
        ("crd/labels", "d1", Placement::AsNamed),
        ("crd/default-prefix", "default.d1", Placement::AsNamed),
        ("crd/default-prefix-tier", "default.d1", Placement::AsNamed),
        ("crd/default-prefix-annotation-without-name", "d1", Placement::AsNamed),
        ("crd/tier-prefix", "sec.d1", Placement::AsNamed),
        ("crd/annotation-labels-differ", "d1", Placement::AsNamed),
        ("crd/annotation-name-differs", "other", Placement::Misplaced),
        ("crd/annotation-namespace-differs", "d1", Placement::AsNamed),
        ("crd/annotation-not-json", "d1", Placement::UnreadableMetadata),
        ("crd/annotation-annotations", "d1", Placement::AsNamed),
        ("crd/annotation-finalizers", "d1", Placement::AsNamed),
        ("crd/two-objects-one-v3-name", "victim", Placement::Misplaced),
    ];
    for line in lines() {
        let Some((_, name, placement)) = expected.iter().find(|(case, ..)| *case == line.case) else {
            continue;
        };
        let stored = canonical(&line.value["stored_crd_v1"]).unwrap();
        assert_eq!(
            (stored.key.name(), stored.placement),
            (*name, *placement),
            "{}",
            line.label()
        );
        // v3 shows the same object wherever it can be fetched.
        if let Some(v3) = canonical(&line.value["stored_v3"]) {
            assert_equal(&line.label(), (&v3.key, &v3.form), &stored);
        }
    }
}

/// What is written from a canonical form, as an export, has that form again.
#[test]
fn the_form_of_a_form_is_the_form() {
    let mut forms = 0;
    for line in lines() {
        let reviewed = line
            .reviews()
            .into_iter()
            .flat_map(|review| [review.object, review.old]);
        for object in reviewed
            .flatten()
            .chain(line.stored().into_iter().map(|(_, object)| object))
        {
            let definition = object.key.kind().definition();
            let (group, version) = definition.served[0];
            let mut written = object.form.clone();
            written["apiVersion"] = format!("{group}/{version}").into();
            written["kind"] = definition.kind.into();
            written["metadata"]["name"] = object.key.name().into();
            written["metadata"]["namespace"] = object.key.namespace().into();
            assert_equal(
                &line.label(),
                (&object.key, &object.form),
                &canonical(&written).unwrap(),
            );
            forms += 1;
        }
    }
    eprintln!("{forms} forms are their own forms");
}
