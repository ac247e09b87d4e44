//! Choices from a fixed seed, biased towards what has more than one spelling.

use serde_json::{Map, Value, json};

pub(crate) struct Dice(fastrand::Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    /// True `percent` times of a hundred.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        let index = self.below(all.len());
        all[index].clone()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        self.0.shuffle(items);
    }

    /// An object of the members that came out present.
    pub(crate) fn object(&mut self, members: &[(&str, Make)]) -> Value {
        let mut object = Map::new();
        for (name, make) in members {
            self.member(&mut object, name, 50, *make);
        }
        Value::Object(object)
    }

    /// The same without nulls: the check refuses them in maps of strings.
    pub(crate) fn strings(&mut self, members: &[(&str, Make)]) -> Value {
        let mut object = Map::new();
        for (name, make) in members {
            if self.chance(50) {
                object.insert((*name).to_owned(), make(self));
            }
        }
        Value::Object(object)
    }

    /// Adds a member, or null, or nothing.
    pub(crate) fn member(&mut self, object: &mut Map<String, Value>, name: &str, percent: usize, make: Make) {
        if self.chance(percent) {
            object.insert(name.to_owned(), make(self));
        } else if self.chance(8) {
            object.insert(name.to_owned(), Value::Null);
        }
    }

    /// A list, often empty.
    pub(crate) fn list(&mut self, most: usize, make: Make) -> Value {
        let length = self.below(most + 1);
        (0..length).map(|_| make(self)).collect()
    }

    /// Some of these, in any order, none of them twice.
    pub(crate) fn some(&mut self, all: &[&str]) -> Value {
        let mut all = all.to_vec();
        self.shuffle(&mut all);
        let length = self.below(all.len() + 1);
        json!(all.into_iter().take(length).collect::<Vec<_>>())
    }
}

/// How a value is made.
pub(crate) type Make = fn(&mut Dice) -> Value;
