#![expect(clippy::indexing_slicing, reason = "a test")]

use proptest::prelude::*;

use super::*;

pub(super) const HEAD: &str =
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\n";
const CALICO: &str = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\n";
const SPEC: &str = "spec: {selector: all()}\n";

pub(super) fn problems(text: &str, severity: Severity) -> Vec<String> {
    let problems = parse(text.as_bytes()).problems;
    let wanted = problems.into_iter().filter(|problem| problem.severity == severity);
    wanted
        .map(|problem| {
            format!(
                "{}:{} {}: {}",
                problem.line, problem.column, problem.field, problem.message
            )
        })
        .collect()
}

/// The only error of a text begins like this.
#[track_caller]
pub(super) fn assert_error(text: &str, expected: &str) {
    let found = problems(text, Severity::Error);
    assert!(
        found.len() == 1 && found[0].starts_with(expected),
        "expected {expected}\nfound {found:#?}"
    );
    assert!(parse(text.as_bytes()).manifests.is_empty());
}

fn digests(text: &str) -> Vec<String> {
    parse(text.as_bytes())
        .manifests
        .iter()
        .map(|manifest| manifest.digest.to_string())
        .collect()
}

#[test]
fn documents_are_read_as_kubectl_reads_them() {
    let text = format!(
        "\u{feff}# a comment\n---\n\n---\n{HEAD}...\n---\r\nkind: ConfigMap\r\napiVersion: v1\r\n---\n- a list\n"
    );
    let parsed = parse(text.as_bytes());
    assert_eq!(parsed.problems, []);
    assert_eq!(
        parsed
            .manifests
            .iter()
            .map(|manifest| manifest.line)
            .collect::<Vec<_>>(),
        [5]
    );
    let ignored: Vec<_> = parsed
        .ignored
        .iter()
        .map(|ignored| (ignored.line, ignored.what.as_str()))
        .collect();
    assert_eq!(ignored, [(10, "v1 ConfigMap"), (13, "a list")]);
}

#[test]
fn an_object_that_lost_its_kind_is_an_error_and_what_never_was_one_is_none() {
    assert_error(
        "metadata: {name: a, namespace: b}\nspec: {podSelector: {}}\n",
        "1:1 : `apiVersion` and `kind` are missing: an API server refuses the object without them",
    );
    for text in ["resources: [a.yaml]\n", "spec: {a: b}\n", "metadata: {name: a}\n"] {
        let parsed = parse(text.as_bytes());
        assert_eq!((parsed.problems.len(), parsed.ignored.len()), (0, 1), "{text}");
    }
}

#[test]
fn empty_files_hold_nothing() {
    for text in ["", "\n", "---\n---\n", "# only a comment", "null", "\u{feff}"] {
        assert_eq!(parse(text.as_bytes()), Parsed::default(), "{text:?}");
    }
}

#[test]
fn json_may_be_a_stream_and_equals_yaml() {
    let object = r#"{"kind": "NetworkPolicy", "apiVersion": "networking.k8s.io/v1", "metadata": {"name": "web", "namespace": "shop"}}"#;
    let stream = format!("  {object}\n\n {}", object.replace("web", "api"));
    let parsed = parse(stream.as_bytes());
    assert_eq!(parsed.problems, []);
    assert_eq!(
        parsed
            .manifests
            .iter()
            .map(|manifest| manifest.line)
            .collect::<Vec<_>>(),
        [1, 3]
    );
    assert_eq!(digests(object), digests(HEAD));
}

#[test]
fn repeated_keys_are_refused_in_both_languages() {
    assert_error(
        &format!("{HEAD}spec:\n  podSelector: {{}}\n  podSelector: {{a: b}}\n"),
        "6:3 : ",
    );
    assert_error("{\"kind\": \"a\",\n \"kind\": \"b\"}", "2:");
}

#[test]
fn merge_keys_octal_numbers_and_old_booleans_are_understood() {
    let merged = format!(
        "{CALICO}spec:\n  ingress:\n  - &rule {{action: Allow, protocol: TCP, destination: {{ports: [0120]}}}}\n  - <<: *rule\n    action: Deny\n"
    );
    let plain = format!(
        "{CALICO}spec:\n  ingress:\n  - {{action: Allow, protocol: TCP, destination: {{ports: [80]}}}}\n  - {{action: Deny, protocol: TCP, destination: {{ports: [80]}}}}\n"
    );
    assert_eq!(problems(&merged, Severity::Error), Vec::<String>::new());
    assert_eq!(digests(&merged), digests(&plain));
    assert_error(
        &HEAD.replace("shop}", "shop, labels: {a: yes}}"),
        "3:49 metadata.labels.a: expected text, found true or false: write it in quotes",
    );
}

#[test]
fn a_list_of_any_kind_is_read_as_its_items() {
    let item = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a, namespace: b}}";
    let text = format!("apiVersion: v1\nkind: ServiceAccount\nitems: [{item}]\n");
    assert_eq!(digests(&text).len(), 1);
    assert!(parse(text.as_bytes()).ignored.is_empty());
}

#[test]
fn a_syntax_error_has_the_place_of_its_token() {
    assert_error(
        "kind: [\n",
        "1:7 : this is not YAML as kubectl reads it: unclosed bracket",
    );
    assert_error("{\"a\": 1,\n  \"b\" \"c\"}", "2:7 : this is not JSON");
    let latin = parse(b"a: b\nc: \xe9\n");
    assert_eq!(
        latin
            .problems
            .iter()
            .map(|problem| (problem.line, problem.column))
            .collect::<Vec<_>>(),
        [(2, 4)]
    );
}

#[test]
fn a_bad_document_does_not_hide_the_next_one() {
    let text = format!("a: 1\na: 2\n---\n{HEAD}");
    let parsed = parse(text.as_bytes());
    assert_eq!((parsed.problems.len(), parsed.manifests.len()), (1, 1));
}

#[test]
fn lists_are_read_as_their_items() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n  metadata: {name: a, namespace: b}\n- {apiVersion: v1, kind: Pod}\n";
    let parsed = parse(text.as_bytes());
    assert_eq!(parsed.problems, []);
    assert_eq!((parsed.manifests[0].line, parsed.ignored[0].line), (4, 7));
    let typed =
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicyList\nitems:\n- metadata: {name: a, namespace: b}\n";
    assert_eq!(digests(typed), digests(text));
    assert_error(
        &text.replace("namespace: b", "namespace: B"),
        "6:23 items[0].metadata.namespace: \"B\" is no valid namespace",
    );
}

#[test]
fn a_namespace_and_a_fixed_name_are_needed() {
    assert_error(
        &HEAD.replace(", namespace: shop", ""),
        "3:1 metadata: `namespace` is missing",
    );
    assert_error(
        &HEAD.replace("name: web", "generateName: web-"),
        "3:12 metadata.generateName: `generateName` gives",
    );
    assert_error(&HEAD.replace("name: web, ", ""), "3:1 metadata: `name` is missing");
    assert_error(
        &HEAD.replace("web", "Web"),
        "3:12 metadata.name: \"Web\" is no valid name",
    );
}

#[test]
fn what_belongs_to_the_server_is_refused_or_warned_about() {
    assert_error(
        &HEAD.replace("shop}", "shop, resourceVersion: '1'}"),
        "3:40 metadata.resourceVersion: `resourceVersion` makes",
    );
    let exported = HEAD.replace("shop}", "shop, creationTimestamp: null, uid: x}") + "status: {}\n";
    assert_eq!(problems(&exported, Severity::Error), Vec::<String>::new());
    assert_eq!(problems(&exported, Severity::Warning).len(), 2);
    let sent = &parse(exported.as_bytes()).manifests[0].object;
    assert_eq!(
        sent["metadata"],
        serde_json::json!({"name": "web", "namespace": "shop"})
    );
    assert_eq!(sent.get("status"), None);
    let forged = CALICO.replace("shop}", "shop, annotations: {projectcalico.org/metadata: '{}'}}") + SPEC;
    assert_error(
        &forged,
        "3:54 metadata.annotations[\"projectcalico.org/metadata\"]: Calico keeps",
    );
}

#[test]
fn misspelt_fields_name_the_field_that_was_meant() {
    assert_error(
        &format!("{HEAD}spec:\n  podSelector: {{}}\n  Ingress: []\n"),
        "6:3 spec.Ingress: `Ingress` is no field of this object, and an API server would drop it without a word: did you mean `ingress`?",
    );
    assert_error(
        &format!("{CALICO}spec: {{selektor: all()}}\n"),
        "4:8 spec.selektor: `selektor` is no field",
    );
    assert_error(&format!("{HEAD}Spec: {{}}\n"), "4:1 Spec: `Spec` is no field");
}

#[test]
fn wrong_types_and_words_are_refused_at_their_place() {
    assert_error(
        &format!("{CALICO}spec:\n  order: '5'\n"),
        "5:3 spec.order: expected a number, found text",
    );
    assert_error(
        &format!("{CALICO}spec:\n  ingress:\n  - action: allow\n"),
        "6:5 spec.ingress[0].action: \"allow\" is not allowed here: did you mean `Allow`?",
    );
    assert_error(
        &format!("{CALICO}spec:\n  ingress:\n  - protocol: TCP\n"),
        "6:5 spec.ingress[0]: `action` is missing",
    );
}

#[test]
fn types_that_depend_on_calicos_mode_have_to_be_written() {
    let error = "4:1 spec: without `types`, an empty list of rules means one thing";
    assert_error(&format!("{CALICO}spec: {{egress: []}}\n"), error);
    assert_error(
        &format!("{CALICO}spec: {{ingress: [], egress: [{{action: Allow}}]}}\n"),
        error,
    );
    for spec in ["{ingress: []}", "{egress: [], types: [Egress]}", "{egress: null}"] {
        assert_eq!(
            problems(&format!("{CALICO}spec: {spec}\n"), Severity::Error),
            Vec::<String>::new(),
            "{spec}"
        );
    }
    let staged = CALICO.replace("NetworkPolicy", "StagedKubernetesNetworkPolicy");
    assert_error(
        &format!("{staged}spec: {{egress: []}}\n"),
        "4:1 spec: without `policyTypes`",
    );
}

#[test]
fn what_is_nearly_a_guarded_object_is_not_passed_over() {
    assert_error(
        &HEAD.replace("/v1", "/v2"),
        "1:1 apiVersion: NetworkPolicy is known in networking.k8s.io/v1 only",
    );
    assert_error(
        &HEAD.replace("networking.k8s.io/v1", "v1"),
        "1:1 apiVersion: \"v1\" serves no NetworkPolicy",
    );
    assert_error(
        &HEAD.replace("NetworkPolicy", "Networkpolicy"),
        "2:1 kind: networking.k8s.io serves no kind Networkpolicy",
    );
    let old = HEAD.replace("networking.k8s.io/v1", "extensions/v1beta1");
    assert_eq!(problems(&old, Severity::Warning).len(), 1);
    assert_eq!(parse(HEAD.replace("NetworkPolicy", "Ingress").as_bytes()).problems, []);
}

#[test]
fn one_key_is_declared_once_in_a_file() {
    let crd = CALICO.replace("projectcalico.org/v3", "crd.projectcalico.org/v1");
    let found = problems(&format!("{CALICO}{SPEC}---\n{crd}{SPEC}"), Severity::Error);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].starts_with("6:1 : Calico NetworkPolicy shop/web is declared twice in this file, first at line 1")
    );
}

#[test]
fn very_many_problems_are_counted() {
    let rules = "  - {action: allow}\n".repeat(5_000);
    let found = parse(format!("{CALICO}spec:\n  ingress:\n{rules}").as_bytes()).problems;
    assert!(found.len() <= findings::MOST_PROBLEMS + 1, "{}", found.len());
}

#[test]
fn an_object_that_etcd_would_not_take_is_refused_by_its_size_as_json() {
    let labels = |count: usize| {
        let value = "v".repeat(59);
        let labels = (0..count).fold(String::new(), |labels, label| {
            labels + &format!("    l{label:07}: {value}\n")
        });
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: web\n  namespace: shop\n  labels:\n{labels}\
             spec: {{podSelector: {{}}, policyTypes: [Ingress]}}\n"
        )
    };
    let errors = problems(&labels(25_000), Severity::Error);
    // 73 bytes a label, with its quotes, colon and comma.
    let size = parse(labels(1).as_bytes())
        .manifests
        .first()
        .map(|manifest| manifest.object.to_string().len() + 24_999 * 73);
    let size = size.unwrap_or_default();
    assert_eq!(
        errors,
        [format!("1:1 : the object has {size} bytes: etcd takes 1572864 at most")]
    );
    assert_eq!(problems(&labels(21_000), Severity::Error), Vec::<String>::new());
}

#[test]
fn the_baseline_policy_has_one_name() {
    let text = "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: BaselineAdminNetworkPolicy\nmetadata: {name: base}\nspec: {subject: {namespaces: {}}}\n";
    assert_error(text, "3:12 metadata.name: there is one BaselineAdminNetworkPolicy only");
    assert_eq!(
        problems(&text.replace("base}", "default}"), Severity::Error),
        Vec::<String>::new()
    );
}

#[test]
fn a_cilium_policy_may_have_spec_or_specs() {
    let head = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: web, namespace: shop}\n";
    for body in ["spec: {endpointSelector: {}}\n", "specs:\n- endpointSelector: {}\n"] {
        let text = format!("{head}{body}");
        assert_eq!(
            (problems(&text, Severity::Error), digests(&text).len()),
            (Vec::new(), 1)
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        parse(&bytes);
    }

    #[test]
    fn no_text_of_yaml_signs_makes_it_panic(text in "[-a{}\\[\\]:,&*!|>'\"%@`#?\n \t.~0<]{0,80}") {
        parse(text.as_bytes());
        parse(format!("{HEAD}spec:\n{text}").as_bytes());
    }

    #[test]
    fn key_order_and_layout_do_not_matter(order in Just(["kind: NetworkPolicy", "apiVersion: networking.k8s.io/v1", "metadata: {namespace: shop, name: web}"]).prop_shuffle()) {
        prop_assert_eq!(digests(&order.join("\n")), digests(HEAD));
    }
}

#[test]
fn a_configured_kind_is_read_and_others_of_its_group_are_ignored() -> Result<(), Box<dyn std::error::Error>> {
    let text =
        "{group: '', version: v1, kind: ResourceQuota, plural: resourcequotas, namespaced: true, namespaces: [shop]}";
    serde_saphyr::from_str::<crate::policy::GenericKind>(text)?.register()?;
    let quota = "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: a, namespace: shop}\n";
    let parsed = parse(
        format!(
            "{quota}anything: 1\n---\n{}",
            quota.replace("ResourceQuota", "ResourceQuotas")
        )
        .as_bytes(),
    );
    assert_eq!(parsed.problems, []);
    assert_eq!((parsed.manifests.len(), parsed.ignored.len()), (1, 1));
    let elsewhere = parse(quota.replace("shop", "web").as_bytes());
    assert!(elsewhere.manifests.iter().all(|manifest| !manifest.key.is_guarded()));
    assert_error(
        &format!("{quota}spec: {{hard: {{pods: null}}}}\n"),
        "4:15 spec.hard.pods: null is read as an empty",
    );
    Ok(())
}
