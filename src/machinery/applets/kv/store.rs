//! The data: keys with values of four kinds, some of which expire. It counts the memory that it
//! takes.

use indexmap::{IndexMap, IndexSet};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher};

/// An error's text as the client reads it, with the code in front.
pub(super) type Fault = Cow<'static, str>;

pub(super) const WRONG_TYPE: Fault =
    Cow::Borrowed("WRONGTYPE Operation against a key holding the wrong kind of value");

/// What a key takes beside its bytes and its value, about.
const ENTRY: usize = 160;
/// What a field or an element takes beside its bytes, about.
pub(super) const ELEMENT: usize = 64;

pub(super) type Text = Vec<u8>;
pub(super) type Hash = IndexMap<Vec<u8>, Vec<u8>>;
pub(super) type List = VecDeque<Vec<u8>>;
pub(super) type Set = IndexSet<Vec<u8>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(Text),
    Hash(Hash),
    List(List),
    Set(Set),
}

impl Value {
    /// Returns the kind of the value in the words of `TYPE`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "string",
            Value::Hash(_) => "hash",
            Value::List(_) => "list",
            Value::Set(_) => "set",
        }
    }

    fn size(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::Hash(map) => map.iter().map(|(field, value)| field.len() + value.len() + ELEMENT).sum(),
            Value::List(list) => list.iter().map(|value| value.len() + ELEMENT).sum(),
            Value::Set(set) => set.iter().map(|value| value.len() + ELEMENT).sum(),
        }
    }
}

/// A kind of value.
pub(super) trait Kind: Sized {
    fn empty() -> Value;
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// Returns whether nothing is left of the value. A key goes with its last element; an empty
    /// text is a value like others.
    fn is_gone(&self) -> bool;
}

macro_rules! kind {
    ($kind:ty, $variant:ident, $gone:expr) => {
        impl Kind for $kind {
            fn empty() -> Value {
                Value::$variant(Default::default())
            }
            fn of(value: &Value) -> Option<&Self> {
                if let Value::$variant(inner) = value { Some(inner) } else { None }
            }
            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                if let Value::$variant(inner) = value { Some(inner) } else { None }
            }
            fn is_gone(&self) -> bool {
                let gone: fn(&Self) -> bool = $gone;
                gone(self)
            }
        }
    };
}

kind!(Text, Text, |_| false);
kind!(Hash, Hash, |map| map.is_empty());
kind!(List, List, |list| list.is_empty());
kind!(Set, Set, |set| set.is_empty());

/// How much larger a value has become.
pub(super) struct Growth {
    by: isize,
    is_new: bool,
}

impl Growth {
    /// Returns whether the key was not there before.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.by = self.by.saturating_add_unsigned(bytes);
    }

    pub(super) fn remove(&mut self, bytes: usize) {
        self.by = self.by.saturating_sub_unsigned(bytes);
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    pub value: Value,
    /// Milliseconds since 1970.
    pub expires: Option<i64>,
    /// Bytes that it takes with its key.
    size: usize,
}

/// Keys are in the order of a hash of theirs, so that a `SCAN` can go on where it was, whatever has
/// come and gone meanwhile.
type Place = (u64, Vec<u8>);

fn scan_position(key: &[u8]) -> Place {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    (hasher.finish(), key.to_vec())
}

#[derive(Debug, Default)]
pub(super) struct Database {
    entries: BTreeMap<Place, Entry>,
    deadlines: BTreeSet<(i64, Vec<u8>)>,
    used: usize,
}

impl Database {
    /// Returns the bytes that the data takes, about.
    pub(super) fn used_bytes(&self) -> usize {
        self.used
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns how many keys will expire.
    pub(super) fn count_expiring(&self) -> usize {
        self.deadlines.len()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(&scan_position(key))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Vec<u8>, &Entry)> {
        self.entries.iter().map(|((_, key), entry)| (key, entry))
    }

    /// Returns at least `count` keys from a cursor on, and the cursor of what follows; 0 at the
    /// end. Keys that are there all the time are returned whatever happens between two calls.
    pub(super) fn scan(&self, cursor: u64, count: usize) -> (u64, Vec<&Vec<u8>>) {
        let mut found: Vec<&Vec<u8>> = Vec::new();
        let mut last = None;
        for ((hash, key), _) in self.entries.range((cursor, Vec::new())..) {
            if found.len() >= count && last != Some(*hash) {
                return (*hash, found);
            }
            last = Some(*hash);
            found.push(key);
        }
        (0, found)
    }

    /// Returns the value of a key.
    ///
    /// # Errors
    /// It is of another kind.
    pub(super) fn get_as<K: Kind>(&self, key: &[u8]) -> Result<Option<&K>, Fault> {
        match self.get(key) {
            Some(entry) => K::of(&entry.value).map(Some).ok_or(WRONG_TYPE),
            None => Ok(None),
        }
    }

    /// Changes the value of a key, which begins empty if it is not there.
    ///
    /// # Errors
    /// It is of another kind; those of `change`, which then must have changed nothing.
    pub(super) fn change_as<K: Kind, R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut K, &mut Growth) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        let own = ENTRY + 2 * key.len();
        let mut is_new = false;
        let entry = self.entries.entry(scan_position(key)).or_insert_with(|| {
            is_new = true;
            Entry { value: K::empty(), expires: None, size: own }
        });
        if is_new {
            self.used += own;
        }
        let Some(value) = K::of_mut(&mut entry.value) else { return Err(WRONG_TYPE) };
        let mut growth = Growth { by: 0, is_new };
        let done = change(value, &mut growth);
        let is_gone = value.is_gone() || (is_new && done.is_err());
        let by = growth.by;
        entry.size = entry.size.saturating_add_signed(by);
        self.used = self.used.saturating_add_signed(by);
        if is_gone {
            self.remove(key);
        }
        done
    }

    /// Changes the value of a key if it is there.
    ///
    /// # Errors
    /// As [`Database::change_as`].
    pub(super) fn change_known_as<K: Kind, R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut K, &mut Growth) -> Result<R, Fault>,
    ) -> Result<Option<R>, Fault> {
        match self.get(key) {
            Some(_) => self.change_as(key, change).map(Some),
            None => Ok(None),
        }
    }

    /// Puts a value in the place of what was there.
    pub(super) fn put(&mut self, key: &[u8], value: Value, expires: Option<i64>) {
        self.remove(key);
        let size = ENTRY + 2 * key.len() + value.size();
        self.used += size;
        self.deadlines.extend(expires.map(|at| (at, key.to_vec())));
        self.entries.insert(scan_position(key), Entry { value, expires, size });
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let entry = self.entries.remove(&scan_position(key))?;
        self.used = self.used.saturating_sub(entry.size);
        if let Some(at) = entry.expires {
            self.deadlines.remove(&(at, key.to_vec()));
        }
        Some(entry)
    }

    /// Lets a key expire at a time, or never. False if it is not there.
    pub(super) fn expire(&mut self, key: &[u8], at: Option<i64>) -> bool {
        let Some(entry) = self.entries.get_mut(&scan_position(key)) else { return false };
        if let Some(before) = std::mem::replace(&mut entry.expires, at) {
            self.deadlines.remove(&(before, key.to_vec()));
        }
        self.deadlines.extend(at.map(|at| (at, key.to_vec())));
        true
    }

    /// Removes the keys whose time has come, and returns them.
    pub(super) fn remove_expired(&mut self, now: i64) -> Vec<Vec<u8>> {
        let mut gone = Vec::new();
        while let Some((_, key)) = self.deadlines.first().filter(|(at, _)| *at <= now).cloned() {
            self.remove(&key);
            gone.push(key);
        }
        gone
    }

    pub(super) fn clear(&mut self) {
        *self = Database::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn memory_is_counted_and_given_back() {
        let mut db = Database::default();
        db.put(b"a", text("1234"), Some(5));
        let one = db.used_bytes();
        db.put(b"a", text("1234"), None);
        assert_eq!((db.used_bytes(), db.count_expiring()), (one, 0));
        let push = |list: &mut List, growth: &mut Growth| {
            list.push_back(b"abc".to_vec());
            growth.add(3 + ELEMENT);
            Ok(())
        };
        db.change_as(b"l", push).unwrap();
        assert_eq!(db.used_bytes(), one + ENTRY + 2 + 3 + ELEMENT);
        assert_eq!(db.change_as(b"a", push), Err(WRONG_TYPE));
        let pop = |list: &mut List, growth: &mut Growth| {
            growth.remove(3 + ELEMENT);
            Ok(list.pop_back())
        };
        assert_eq!(db.change_known_as(b"l", pop), Ok(Some(Some(b"abc".to_vec()))));
        assert_eq!(db.change_known_as(b"l", pop), Ok(None));
        let refuse = |_: &mut Set, _: &mut Growth| Err::<(), Fault>("ERR no".into());
        assert_eq!(db.change_as(b"s", refuse), Err("ERR no".into()));
        assert_eq!((db.used_bytes(), db.len()), (one, 1));
        db.remove(b"a");
        assert_eq!((db.used_bytes(), db.len()), (0, 0));
    }

    #[test]
    fn what_has_expired_is_removed_in_its_order() {
        let mut db = Database::default();
        db.put(b"b", text("2"), Some(20));
        db.put(b"a", text("1"), Some(30));
        db.put(b"c", text("3"), Some(90));
        assert!(db.expire(b"a", Some(10)) && !db.expire(b"x", None));
        assert_eq!(db.remove_expired(9), Vec::<Vec<u8>>::new());
        assert_eq!(db.remove_expired(20), [b"a".to_vec(), b"b".to_vec()]);
        assert!(db.expire(b"c", None) && db.remove_expired(i64::MAX).is_empty());
    }

    #[test]
    fn a_scan_misses_no_key_that_stays() {
        let mut db = Database::default();
        let key = |n: u32| format!("key:{n}").into_bytes();
        (0..100).for_each(|n| db.put(&key(n), text(""), None));
        let (mut cursor, mut seen) = (0, BTreeSet::new());
        loop {
            let (next, keys) = db.scan(cursor, 7);
            let keys: Vec<Vec<u8>> = keys.into_iter().cloned().collect();
            assert!(keys.len() >= 7 || next == 0);
            // Every second key goes as soon as it was seen.
            for seen in keys.iter().filter(|key| key.ends_with(b"1")) {
                db.remove(seen);
            }
            seen.extend(keys);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen.len(), 100);
    }
}
