//! Requests from a small alphabet. All subjects are made before the first is judged: parsing is tested elsewhere.

use headgate::gate::{Operation, Request, Subject, User};
use headgate::policy::{Digest, GenericKind, Key, canonicalize};
use serde_json::{Value, json};

/// The objects that requests are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Web,
    Api,
    Elsewhere,
    /// Cluster-scoped, of Calico's v3 API.
    Partners,
    /// A Calico policy as it is stored, its metadata in an annotation.
    Stored,
    /// Of a kind that is guarded in other namespaces only.
    Free,
}

impl Place {
    pub(crate) const ALL: [Self; 6] = [
        Self::Web,
        Self::Api,
        Self::Elsewhere,
        Self::Partners,
        Self::Stored,
        Self::Free,
    ];

    pub(crate) fn namespace(self) -> Option<&'static str> {
        match self {
            Self::Web | Self::Api | Self::Stored => Some("payments"),
            Self::Elsewhere | Self::Free => Some("other"),
            Self::Partners => None,
        }
    }
}

/// What is wrong with Calico's own annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    None,
    /// It is there, on an object on which it never is.
    OnV3,
    /// It names another object than the one it is on.
    Misplaced,
    /// It is not JSON.
    Garbled,
}

/// One state of an object: what somebody decided, and what the server keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Which of two contents.
    pub(crate) content: u8,
    /// Whether it has the label that the exemption wants.
    pub(crate) labelled: bool,
    /// Whether it has a finalizer.
    pub(crate) held: bool,
    pub(crate) mark: Mark,
    /// Whether it is being deleted.
    pub(crate) going: bool,
    /// Whether it is younger than every source.
    pub(crate) young: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Alice,
    /// Named by the exemption, where there is one.
    Robot,
    /// The namespace controller.
    Controller,
}

/// A request as it was made up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) place: Place,
    pub(crate) operation: Operation,
    pub(crate) old: Option<Shape>,
    pub(crate) new: Option<Shape>,
    pub(crate) who: Who,
    pub(crate) dry_run: bool,
    pub(crate) generated_name: bool,
}

/// Every request there is, but for who asks.
pub(crate) struct Requests {
    all: Vec<(Asked, Subject)>,
}

impl Requests {
    pub(crate) fn new() -> Self {
        let text = "{group: apps, version: v1, kind: Deployment, plural: deployments, namespaced: true, namespaces: [payments]}";
        serde_saphyr::from_str::<GenericKind>(text).unwrap().register().unwrap();
        let all = Place::ALL.into_iter().flat_map(all_at).map(|asked| {
            let subject = subject(&asked);
            (asked, subject)
        });
        Self { all: all.collect() }
    }

    pub(crate) fn draw(&mut self, random: &mut fastrand::Rng) -> (Asked, &Subject) {
        let drawn = random.usize(..self.all.len());
        let (asked, subject) = &mut self.all[drawn];
        asked.who = random.choice([Who::Alice, Who::Robot, Who::Controller]).unwrap();
        asked.dry_run = random.u8(..4) == 0;
        subject.dry_run = asked.dry_run;
        subject.user.username.clear();
        subject.user.username.push_str(match asked.who {
            Who::Alice => "alice",
            Who::Robot => "robot",
            Who::Controller => "system:serviceaccount:kube-system:namespace-controller",
        });
        (*asked, subject)
    }
}

fn all_at(place: Place) -> Vec<Asked> {
    let asked = |operation, old, new, generated_name| Asked {
        place,
        operation,
        old,
        new,
        who: Who::Alice,
        dry_run: false,
        generated_name,
    };
    let mut all = Vec::new();
    for new in shapes(place) {
        all.push(asked(Operation::Create, None, Some(new), false));
        all.push(asked(Operation::Delete, Some(new), None, false));
        all.push(asked(Operation::Create, None, Some(new), true));
        let may_come_before = |old: &Shape| {
            // The server keeps the name and the age of an object.
            old.young == new.young && (old.mark == Mark::Misplaced) == (new.mark == Mark::Misplaced)
        };
        let updates = shapes(place).into_iter().filter(may_come_before);
        all.extend(updates.map(|old| asked(Operation::Update, Some(old), Some(new), false)));
    }
    // There are many more updates than anything else: each kind of request shall be as likely.
    let updates = all.iter().filter(|asked| asked.operation == Operation::Update).count();
    let others: Vec<Asked> = all
        .iter()
        .filter(|asked| asked.operation != Operation::Update)
        .copied()
        .collect();
    all.extend(others.iter().cycle().take(updates).copied());
    all
}

fn shapes(place: Place) -> Vec<Shape> {
    let marks: &[Mark] = match place {
        Place::Partners => &[Mark::None, Mark::OnV3],
        Place::Stored => &[Mark::None, Mark::Misplaced, Mark::Garbled],
        _ => &[Mark::None],
    };
    let of = |mark: Mark| {
        (0..32u8).map(move |bits| Shape {
            content: bits & 1,
            labelled: bits & 2 != 0,
            held: bits & 4 != 0,
            going: bits & 8 != 0,
            young: bits & 16 != 0,
            mark,
        })
    };
    marks.iter().copied().flat_map(of).collect()
}

fn subject(asked: &Asked) -> Subject {
    let object = |shape: Option<Shape>, version: &str| {
        let mut object = manifest(asked.place, shape?);
        object["metadata"]["resourceVersion"] = version.into();
        if asked.generated_name {
            object["metadata"]["generateName"] = "web-".into();
        }
        Some(object)
    };
    let (new, old) = (object(asked.new, "2"), object(asked.old, "1"));
    let any = new.as_ref().or(old.as_ref()).unwrap();
    let api_version = any["apiVersion"].as_str().unwrap();
    let (group, version) = api_version.split_once('/').unwrap();
    let review = json!({"request": {
        "uid": "u", "kind": {"group": group, "version": version, "kind": any["kind"]},
        "namespace": any["metadata"]["namespace"].as_str().unwrap_or_default(), "operation": asked.operation,
        "object": new, "oldObject": old, "userInfo": User::default(),
    }});
    Subject::new(Request::read(review.to_string().as_bytes()).unwrap()).unwrap()
}

/// What the file of a declared object says, as a key and a digest.
pub(crate) fn file(place: Place, content: u8, labelled: bool) -> (Key, Digest) {
    let shape = Shape {
        content,
        labelled,
        held: false,
        mark: Mark::None,
        going: false,
        young: true,
    };
    let canonical = canonicalize(manifest(place, shape)).unwrap();
    let digest = canonical.digest().unwrap();
    (canonical.key, digest)
}

fn manifest(place: Place, shape: Shape) -> Value {
    let created = if shape.young {
        "2019-12-31T23:30:00Z"
    } else {
        "2001-01-01T00:00:00Z"
    };
    let mut metadata = json!({"creationTimestamp": created});
    if let Some(namespace) = place.namespace() {
        metadata["namespace"] = namespace.into();
    }
    if shape.labelled {
        metadata["labels"] = json!({"managed": "yes"});
    }
    if shape.held {
        metadata["finalizers"] = json!(["example.com/hold"]);
    }
    if shape.going {
        metadata["deletionTimestamp"] = "2019-12-31T23:40:00Z".into();
    }
    let annotation = match shape.mark {
        Mark::None => None,
        Mark::OnV3 => Some("{\"labels\":{\"role\":\"admin\"}}"),
        Mark::Misplaced => Some("{\"name\":\"trusted\"}"),
        Mark::Garbled => Some("no JSON"),
    };
    if let Some(annotation) = annotation {
        metadata["annotations"] = json!({"projectcalico.org/metadata": annotation});
    }
    let port = 80 + u16::from(shape.content);
    let (api_version, kind, name, spec) = match place {
        Place::Web | Place::Api | Place::Elsewhere => {
            let name = if place == Place::Api { "api" } else { "web" };
            let ingress = json!([{"ports": [{"protocol": "TCP", "port": port}]}]);
            let spec = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": ingress});
            ("networking.k8s.io/v1", "NetworkPolicy", name, spec)
        }
        Place::Partners => {
            let spec = json!({"nets": [format!("10.{port}.0.0/16")]});
            ("projectcalico.org/v3", "GlobalNetworkSet", "partners", spec)
        }
        Place::Stored => {
            let name = if shape.mark == Mark::Misplaced {
                "elsewhere"
            } else {
                "trusted"
            };
            let spec = json!({"tier": "default", "types": ["Ingress"], "order": port});
            ("crd.projectcalico.org/v1", "NetworkPolicy", name, spec)
        }
        Place::Free => ("apps/v1", "Deployment", "app", json!({"replicas": port})),
    };
    metadata["name"] = name.into();
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
}
