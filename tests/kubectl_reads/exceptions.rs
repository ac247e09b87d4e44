//! Where the two readings differ, and why that is right.

use crate::compare::Difference;

/// Who reads the text; `Otherwise`: both, as something else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Who {
    Kubectl,
    Headgate,
    Otherwise,
}

impl Who {
    pub(crate) fn reads(difference: &Difference) -> Self {
        match difference {
            Difference::OnlyKubectl { .. } => Self::Kubectl,
            Difference::OnlyHeadgate { .. } => Self::Headgate,
            Difference::Otherwise { .. } => Self::Otherwise,
        }
    }
}

/// Texts that are read differently for one reason.
pub(crate) struct Exception {
    pub(crate) who: Who,
    pub(crate) why: &'static str,
    pub(crate) texts: &'static [&'static str],
}

/// Among the values.
pub(crate) const VALUES: &[Exception] = &[
    Exception {
        who: Who::Kubectl,
        why: "kubectl takes the last of two equal keys, or either: nobody means that",
        texts: &[
            "\n      a: b\n      a: c",
            "{a: b, a: c}",
            "\n      1: a\n      '1': b",
            "\n      yes: a\n      true: b",
            "\n      a: b\n      \"a\": c",
            "{true: a, 'true': b}",
            "{&a b: c, *a : d}",
            "{a: &x {b: 1}, c: {<<: *x, <<: *x}}",
            "{a: &x {1: a}, b: {<<: *x, '1': c}}",
        ],
    },
    Exception {
        who: Who::Kubectl,
        why: "YAML says the written key wins, kubectl has the `<<` after it win: another order is asked for",
        texts: &["{a: &x {b: 1, c: 2}, d: {c: 3, <<: *x}}"],
    },
    Exception {
        who: Who::Kubectl,
        why: "the key `a` for YAML 1.2, the text `a:` for kubectl: a space is asked for",
        texts: &["[a:, b]"],
    },
    Exception {
        who: Who::Kubectl,
        why: "no YAML: a comment needs a space before it, `-` alone is no text",
        texts: &["'a'#b", "[#a\n      b]", "[-]"],
    },
    Exception {
        who: Who::Kubectl,
        why: "an invisible character that ends a line, or that nobody means",
        texts: &["\u{feff}", "a\u{feff}b", "a\u{feff}b", "'a\u{2029}b'"],
    },
    Exception {
        who: Who::Kubectl,
        why: "no field of a Kubernetes object is called infinity, or holds bytes or a time as such",
        texts: &[
            "{.inf: a}",
            "{-.inf: a}",
            "{.nan: a}",
            "!!binary aGVsbG8=",
            "!!timestamp 2001-12-14",
            "{a: &x {b: 1}, c: {!!merge <<: *x}}",
        ],
    },
    Exception {
        who: Who::Kubectl,
        why: "the colon is part of the alias's name in YAML 1.2",
        texts: &["{a: &x b, *x: d}"],
    },
    Exception {
        who: Who::Headgate,
        why: "YAML 1.2 has more escapes, names of anchors, places for a tab and for a colon; what is meant is plain",
        texts: &[
            "\"\\/\"",
            "\"\\ud83d\\ude00\"",
            "|\n      \ta",
            "\n      - \ta",
            "[:a]",
            "{a: :b}",
            "[&a&b c]",
            "[&a-b_c.d e, *a-b_c.d]",
            "[&a:b c, *a:b]",
            "[&é b, *é]",
        ],
    },
];

/// Among the files.
pub(crate) const FILES: &[Exception] = &[
    Exception {
        who: Who::Kubectl,
        why: "kubectl drops what follows the end of a document without a word",
        texts: &[
            "HEAD... a\n",
            "HEAD...\nHEAD",
            "HEAD...\n@\n",
            "HEAD%YAML 1.1\n---\nHEAD",
            "HEAD...\n%YAML 1.1\n---\nHEAD",
        ],
    },
    Exception {
        who: Who::Kubectl,
        why: "kubectl reads a byte order mark there as part of the first key, and then misses `apiVersion`",
        texts: &["---\n\u{feff}HEAD"],
    },
    Exception {
        who: Who::Kubectl,
        why: "kubectl reads a policy with `items` as a list of other objects: `items` is no field of a policy",
        texts: &[
            "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: a, namespace: b}\nitems: [LIST]\n",
        ],
    },
    Exception {
        who: Who::Kubectl,
        why: "half JSON, half YAML",
        texts: &["JSON\nHEAD", "JSON\n---\nJSON\nJSON"],
    },
    Exception {
        who: Who::Kubectl,
        why: "kubectl takes the last of two equal members",
        texts: &[
            "{\"apiVersion\": \"cilium.io/v2\", \"kind\": \"CiliumNetworkPolicy\", \"metadata\": {\"name\": \"a\", \"name\": \"c\", \"namespace\": \"b\"}}",
        ],
    },
    Exception {
        who: Who::Kubectl,
        why: "kubectl refuses the number too, once it reads the object's fields",
        texts: &[
            "{\"apiVersion\": \"cilium.io/v2\", \"kind\": \"CiliumNetworkPolicy\", \"metadata\": {\"name\": \"a\", \"namespace\": \"b\"}, \"spec\": {\"endpointSelector\": {\"a\": 1e400}}}",
        ],
    },
    Exception {
        who: Who::Kubectl,
        why: "half a character is no text",
        texts: &[
            "{\"apiVersion\": \"cilium.io/v2\", \"kind\": \"CiliumNetworkPolicy\", \"metadata\": {\"name\": \"a\", \"namespace\": \"b\"}, \"spec\": {\"endpointSelector\": {\"a\": \"\\ud800\"}}}",
        ],
    },
    Exception {
        who: Who::Headgate,
        why: "YAML 1.2 has more places for a tab and for `...`; what is meant is plain",
        texts: &[
            "\t\n",
            "HEAD\t\n",
            "...\n",
            "...\nHEAD",
            "# a\n...\nHEAD",
            "JSON\n...\n",
        ],
    },
    Exception {
        who: Who::Otherwise,
        why: "kubectl finds no kind `List` in a list or in another group, and would create nothing: its items are declared all the same",
        texts: &[
            "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List, items: [LIST]}]\n",
            "apiVersion: v2\nkind: List\nitems: [LIST]\n",
            "apiVersion: a.example/v1\nkind: List\nitems: [LIST]\n",
        ],
    },
    Exception {
        who: Who::Otherwise,
        why: "kubectl drops an item that is null without a word; it is listed as ignored",
        texts: &["apiVersion: v1\nkind: List\nitems: [~]\n"],
    },
];
