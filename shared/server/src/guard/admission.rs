//! How much a process takes at once, and how much of that one caller.
use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use caseward_core::{Caller, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One caller takes one part in so many: whoever calls without end, or leaves and calls again, is turned away before
/// others are.
const SHARE: usize = 4;

/// How many calls may be in flight in one process, or how many streams open. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    left: Arc<Semaphore>,
    hashes: RandomState,
    /// How many places a caller holds, by the hash of who it is.
    held: Mutex<HashMap<u64, usize>>,
}

/// One place. It is free again when this is dropped.
pub(super) type Place = OwnedSemaphorePermit;

/// One place of a caller's share. It is theirs again when the last of its clones is dropped.
#[derive(Clone, Debug)]
pub(super) struct Share(#[expect(dead_code, reason = "held until it is dropped")] Arc<Held>);

#[derive(Debug)]
struct Held {
    of: Admission,
    by: u64,
}

impl Admission {
    pub(crate) fn new(most: usize) -> Self {
        let (left, held) = (Arc::new(Semaphore::new(most)), Mutex::default());
        Admission(Arc::new(Inner { most, left, hashes: RandomState::new(), held }))
    }

    /// How many places are taken.
    pub(crate) fn in_flight(&self) -> u64 {
        self.0.most.saturating_sub(self.0.left.available_permits()) as u64
    }

    /// A place, whoever calls; nothing where all are taken.
    pub(super) fn enter(&self) -> Option<Place> {
        self.0.left.clone().try_acquire_owned().ok()
    }

    /// A place of `caller`'s share, unless they have taken all of it.
    pub(super) fn share(&self, caller: &Caller) -> Result<Share, Error> {
        let by = self.0.hashes.hash_one((caller.organization, &caller.subject));
        let mut all = self.held();
        let held = all.entry(by).or_default();
        if *held >= (self.0.most / SHARE).max(1) {
            return Err(Error::Exhausted("too many calls of yours at once; try again"));
        }
        *held += 1;
        Ok(Share(Arc::new(Held { of: self.clone(), by })))
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = self.of.held();
        if let Some(held) = all.get_mut(&self.by) {
            *held -= 1;
            if *held == 0 {
                all.remove(&self.by);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use caseward_core::{Purpose, Reach};
    use uuid::Uuid;

    use super::*;

    pub(crate) fn caller(subject: &str) -> Caller {
        Caller {
            organization: Uuid::nil(),
            subject: subject.to_owned(),
            roles: vec![],
            permissions: vec![],
            reach: Reach::Related,
            purpose: Purpose::Treatment,
            token: String::new(),
        }
    }

    #[test]
    fn one_caller_takes_a_quarter_and_leaves_the_rest_to_others() {
        let all = Admission::new(8);
        let share = |subject| all.share(&caller(subject));
        let mut anas = vec![share("ana").unwrap(), share("ana").unwrap()];
        assert!(matches!(share("ana"), Err(Error::Exhausted(_))));
        let ben = share("ben").unwrap();
        let left = anas.pop();
        let still = left.clone();
        drop(left);
        assert!(share("ana").is_err(), "it is held until nobody holds it");
        drop(still);
        anas.push(share("ana").unwrap());
        drop((anas, ben));
        assert!(all.held().is_empty());
    }
}
