//! bbolt's file: B+trees of pages. Written in one go, read as a whole.
//!
//! ```text
//! page 0, 1   meta: where the tree of buckets begins, how many pages there are
//! page 2      the free list, empty
//! page 3 …    leaves and branches, first those of the buckets, last the tree that names them
//! ```
//! A page is `id u64 | flags u16 | count u16 | overflow u32`, then elements of 16 bytes, then what
//! they point to; all numbers little-endian. A page whose contents do not fit 4096 bytes goes on
//! over the next ones (`overflow`). Source: bbolt's `page.go`, `bucket.go`, `db.go`.

use super::super::hash::fnv;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

const PAGE: usize = 4096;
const PAGE_HEADER: usize = 16;
const ELEMENT: usize = 16;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const META: u16 = 4;
const FREE_LIST: u16 = 16;
/// Marks a leaf's element that holds a bucket.
const BUCKET: u32 = 1;
const MAGIC: u32 = 0xed0c_daed;
const VERSION: u32 = 2;
/// Bytes of a meta page that its checksum covers.
const META_SUMMED: usize = 56;
/// Levels of a tree; a deeper one can only be a loop.
const DEPTH_MAX: u32 = 32;

/// A bucket's records, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// etcd's buckets are `key`, `lease`, `alarm`, `meta`, `members`, `cluster` and others.
    pub name: Vec<u8>,
    /// Key and value of each record.
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Bucket {
    /// Returns a bucket without records.
    pub fn new(name: &str) -> Bucket {
        Bucket { name: name.as_bytes().to_vec(), records: BTreeMap::new() }
    }
    /// Sets a record. An earlier one with the same key is replaced.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.records.insert(key, value);
    }
}

/// The reason for which a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid database: {0}")]
pub struct Damaged(pub &'static str);

struct Element {
    flags: u32,
    key: Vec<u8>,
    value: Vec<u8>,
    /// Branches only: the page below.
    page: u64,
}

struct Writer {
    out: Vec<u8>,
}

/// Builds a file.
pub fn write(buckets: Vec<Bucket>) -> Vec<u8> {
    let mut writer = Writer { out: vec![0; 2 * PAGE] };
    let free_list = writer.page(FREE_LIST, &[]);
    let mut named = BTreeMap::new();
    for bucket in buckets {
        let leaf = |(key, value)| Element { flags: 0, key, value, page: 0 };
        let root = writer.tree(bucket.records.into_iter().map(leaf).collect());
        let mut head = root.to_le_bytes().to_vec();
        head.extend([0; 8]); // its sequence
        named.insert(bucket.name, head);
    }
    let bucket = |(key, value)| Element { flags: BUCKET, key, value, page: 0 };
    let root = writer.tree(named.into_iter().map(bucket).collect());
    let mut out = writer.out;
    let pages = (out.len() / PAGE) as u64;
    for id in 0..2 {
        out[id * PAGE..][..PAGE].copy_from_slice(&meta(id as u64, root, free_list, pages));
    }
    out
}

fn meta(id: u64, root: u64, free_list: u64, pages: u64) -> Vec<u8> {
    let mut page = header(id, META, 0, 0);
    for n in [MAGIC, VERSION, PAGE as u32, 0] {
        page.extend(n.to_le_bytes());
    }
    // the tree of buckets with its sequence, the free list, the end, and a transaction's number, by
    // which the newer page counts
    for n in [root, 0, free_list, pages, id] {
        page.extend(n.to_le_bytes());
    }
    let sum = fnv(&page[PAGE_HEADER..]);
    page.extend(sum.to_le_bytes());
    page.resize(PAGE, 0);
    page
}

fn header(id: u64, flags: u16, count: u16, overflow: u32) -> Vec<u8> {
    let mut out = id.to_le_bytes().to_vec();
    out.extend(flags.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(overflow.to_le_bytes());
    out
}

impl Writer {
    /// Writes the pages of one tree; returns its root.
    fn tree(&mut self, elements: Vec<Element>) -> u64 {
        let mut level = self.level(LEAF, elements);
        while level.len() > 1 {
            level = self.level(BRANCH, level);
        }
        level.first().map_or(0, |root| root.page)
    }

    /// Writes elements to as many pages as they need; returns the elements that point to these.
    fn level(&mut self, flags: u16, elements: Vec<Element>) -> Vec<Element> {
        let mut up = Vec::new();
        let mut page: Vec<Element> = Vec::new();
        let mut size = PAGE_HEADER;
        for element in elements {
            let more = ELEMENT + element.key.len() + element.value.len();
            if size + more > PAGE && !page.is_empty() {
                up.push(self.node(flags, &page));
                page.clear();
                size = PAGE_HEADER;
            }
            size += more;
            page.push(element);
        }
        if !page.is_empty() || up.is_empty() {
            up.push(self.node(flags, &page));
        }
        up
    }

    fn node(&mut self, flags: u16, elements: &[Element]) -> Element {
        let key = elements.first().map(|e| e.key.clone()).unwrap_or_default();
        Element { flags: 0, key, value: vec![], page: self.page(flags, elements) }
    }

    fn page(&mut self, flags: u16, elements: &[Element]) -> u64 {
        let data: usize = elements.iter().map(|e| e.key.len() + e.value.len()).sum();
        let pages = (PAGE_HEADER + elements.len() * ELEMENT + data).div_ceil(PAGE);
        let (id, start) = ((self.out.len() / PAGE) as u64, self.out.len());
        self.out.extend(header(id, flags, elements.len() as u16, pages as u32 - 1));
        let mut at = elements.len() * ELEMENT; // from the element to its key
        for element in elements {
            let (key, value) = (element.key.len() as u32, element.value.len() as u32);
            match flags {
                BRANCH => {
                    self.out.extend((at as u32).to_le_bytes());
                    self.out.extend(key.to_le_bytes());
                    self.out.extend(element.page.to_le_bytes());
                }
                _ => [element.flags, at as u32, key, value]
                    .iter()
                    .for_each(|n| self.out.extend(n.to_le_bytes())),
            }
            at = at + element.key.len() + element.value.len() - ELEMENT;
        }
        for element in elements {
            self.out.extend(&element.key);
            self.out.extend(&element.value);
        }
        self.out.resize(start + pages * PAGE, 0);
        id
    }
}

struct Meta {
    page_size: usize,
    root: u64,
    pages: u64,
}

struct Reader<'a> {
    file: &'a [u8],
    page_size: usize,
    /// Pages that were read. A tree has each of them once: else a small file could say so much that
    /// reading it never ends.
    read: RefCell<BTreeSet<u64>>,
    /// Bytes that keys and values may still have: all together no more than the file.
    left: Cell<usize>,
}

/// Returns the buckets of a file, in the order of their names.
///
/// # Errors
/// [`Damaged`] if the file is no bbolt file, or ends early, or its pages are no tree in order. The
/// caller needs another copy of the file.
pub fn read(file: &[u8]) -> Result<Vec<Bucket>, Damaged> {
    let meta = newest(file)?;
    let (page_size, left) = (meta.page_size, Cell::new(file.len()));
    let reader = Reader { file, page_size, read: RefCell::default(), left };
    let mut buckets: Vec<Bucket> = Vec::new();
    reader.walk(reader.at(meta.root)?, 0, ANY, &mut |flags, name, head| {
        if flags & BUCKET == 0 {
            return Err(Damaged("a record outside of the buckets"));
        }
        if buckets.last().is_some_and(|last| last.name.as_slice() >= name) {
            return Err(DISORDER);
        }
        let mut records: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut keep = |flags: u32, key: &[u8], value: &[u8]| {
            if flags & BUCKET != 0 {
                return Err(Damaged("a bucket in a bucket, which etcd has not"));
            }
            if records.last_key_value().is_some_and(|(last, _)| last.as_slice() >= key) {
                return Err(DISORDER);
            }
            records.insert(key.to_vec(), value.to_vec());
            Ok(())
        };
        match u64_at(head, 0)? {
            // a small bucket lies within its name's record
            0 => reader.walk(head.get(16..).ok_or(SHORT)?, 0, ANY, &mut keep)?,
            root => reader.walk(reader.at(root)?, 0, ANY, &mut keep)?,
        }
        buckets.push(Bucket { name: name.to_vec(), records });
        Ok(())
    })?;
    Ok(buckets)
}

/// Returns the bytes that the file's pages take, by its own word.
///
/// # Errors
/// [`Damaged`] if none of its two meta pages is valid, or the number is too large.
pub fn size(file: &[u8]) -> Result<u64, Damaged> {
    let meta = newest(file)?;
    meta.pages.checked_mul(meta.page_size as u64).ok_or(Damaged("it says that it has too many pages"))
}

const SHORT: Damaged = Damaged("a page ends early");
/// bbolt finds keys by halving: it would miss those behind one that is too large.
const DISORDER: Damaged = Damaged("its keys are not in their order");

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Damaged> {
    bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u16::from_le_bytes(*b)).ok_or(SHORT)
}
fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Damaged> {
    bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u32::from_le_bytes(*b)).ok_or(SHORT)
}
fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Damaged> {
    bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u64::from_le_bytes(*b)).ok_or(SHORT)
}

/// Returns the valid meta page with the higher transaction.
fn newest(file: &[u8]) -> Result<Meta, Damaged> {
    // The second page's place depends on the page size, which each of them tells.
    let first = u32_at(file, PAGE_HEADER + 8).ok().filter(|n| n.is_power_of_two()).unwrap_or(PAGE as u32);
    let read = |at: usize| {
        let meta = file.get(at + PAGE_HEADER..).ok_or(SHORT)?;
        let good = u32_at(meta, 0)? == MAGIC
            && u32_at(meta, 4)? == VERSION
            && u64_at(meta, META_SUMMED)? == fnv(&meta[..META_SUMMED]);
        let page_size = u32_at(meta, 8)? as usize;
        match good && page_size.is_power_of_two() && page_size >= 512 {
            true => {
                Ok((u64_at(meta, 48)?, Meta { page_size, root: u64_at(meta, 16)?, pages: u64_at(meta, 40)? }))
            }
            false => Err(Damaged("no page of its beginning is valid")),
        }
    };
    match (read(0), read(first as usize)) {
        (Ok(a), Ok(b)) => Ok(if a.0 > b.0 { a.1 } else { b.1 }),
        (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one.1),
        (Err(error), Err(_)) => Err(error),
    }
}

/// The keys that bbolt looks for on a page: those from the first one on, and before the second one.
type Keys<'k> = (&'k [u8], Option<&'k [u8]>);

const ANY: Keys<'static> = (&[], None);

/// Returns the bytes that an element points to.
fn cut(element: &[u8], at: u32, length: u32) -> Result<&[u8], Damaged> {
    let end = at.checked_add(length).ok_or(SHORT)?;
    element.get(at as usize..end as usize).ok_or(SHORT)
}

/// Returns the key with which an element of a branch names the page below.
fn branch_key(page: &[u8], n: usize) -> Result<&[u8], Damaged> {
    let element = page.get(PAGE_HEADER + n * ELEMENT..).ok_or(SHORT)?;
    cut(element, u32_at(element, 0)?, u32_at(element, 4)?)
}

type Visit<'v> = dyn FnMut(u32, &[u8], &[u8]) -> Result<(), Damaged> + 'v;

impl<'a> Reader<'a> {
    fn at(&self, page: u64) -> Result<&'a [u8], Damaged> {
        if !self.read.borrow_mut().insert(page) {
            return Err(Damaged("a page is in its tree twice"));
        }
        let at = usize::try_from(page).ok().and_then(|p| p.checked_mul(self.page_size)).ok_or(SHORT)?;
        let found = self.file.get(at..).ok_or(SHORT)?;
        match u64_at(found, 0)? == page {
            true => Ok(found),
            false => Err(Damaged("a page has the number of another one")),
        }
    }

    /// Counts bytes of keys and values that were read.
    fn spend(&self, bytes: usize) -> Result<(), Damaged> {
        let left = self.left.get().checked_sub(bytes).ok_or(Damaged("its records overlap"))?;
        self.left.set(left);
        Ok(())
    }

    fn walk(
        &self,
        page: &[u8],
        depth: u32,
        (from, to): Keys<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Damaged> {
        if depth > DEPTH_MAX {
            return Err(Damaged("its tree has a loop"));
        }
        let (flags, count) = (u16_at(page, 8)?, usize::from(u16_at(page, 10)?));
        for n in 0..count {
            let element = page.get(PAGE_HEADER + n * ELEMENT..).ok_or(SHORT)?;
            match flags {
                BRANCH => {
                    let key = branch_key(page, n)?;
                    self.spend(key.len())?;
                    let next = if n + 1 < count { Some(branch_key(page, n + 1)?) } else { None };
                    let below = (std::cmp::max(from, key), [next, to].into_iter().flatten().min());
                    self.walk(self.at(u64_at(element, 8)?)?, depth + 1, below, visit)?;
                }
                LEAF => {
                    let (at, key) = (u32_at(element, 4)?, u32_at(element, 8)?);
                    let value = at.checked_add(key).ok_or(SHORT)?;
                    let (key, value) = (cut(element, at, key)?, cut(element, value, u32_at(element, 12)?)?);
                    self.spend(key.len() + value.len())?;
                    if key < from || to.is_some_and(|to| key >= to) {
                        return Err(DISORDER);
                    }
                    visit(u32_at(element, 0)?, key, value)?;
                }
                _ => return Err(Damaged("a page of its tree is none")),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_over_many_pages_and_large_records() {
        let mut many = Bucket::new("key");
        for n in 0u32..5000 {
            many.put(n.to_be_bytes().to_vec(), vec![n as u8; n as usize % 300]);
        }
        many.put(b"z".to_vec(), vec![7; 50_000]);
        let written = vec![Bucket::new("alarm"), many];
        let file = write(written.clone());
        assert_eq!(size(&file), Ok(file.len() as u64));
        assert_eq!(read(&file), Ok(written));
    }

    #[test]
    fn damage_is_reported_and_never_a_panic() {
        let mut bucket = Bucket::new("key");
        (0u32..400).for_each(|n| bucket.put(n.to_be_bytes().to_vec(), vec![1; 40]));
        let file = write(vec![bucket]);
        assert!(read(&file[..100]).is_err() && read(b"").is_err());
        for at in (0..file.len()).step_by(7) {
            let mut damaged = file.clone();
            damaged[at] ^= 0x55;
            let _ = read(&damaged); // only the beginning has a checksum; what matters is that it ends
        }
        let mut damaged = file.clone();
        (damaged[PAGE_HEADER], damaged[PAGE + PAGE_HEADER]) = (0, 0);
        assert_eq!(read(&damaged), Err(Damaged("no page of its beginning is valid")));
    }

    /// As bbolt's `Tx.Check`, with which `etcdutl snapshot status` begins.
    #[test]
    fn keys_out_of_order_and_misplaced_pages_are_damage() {
        let mut bucket = Bucket::new("key");
        ["aaaa", "bbbb"].iter().for_each(|key| bucket.put(key.as_bytes().to_vec(), vec![1]));
        let file = write(vec![Bucket::new("alarm"), bucket]);
        let with = |from: &[u8], to: &[u8]| {
            let at = file.windows(from.len()).position(|bytes| bytes == from).unwrap();
            let mut damaged = file.clone();
            damaged[at..at + to.len()].copy_from_slice(to);
            read(&damaged)
        };
        assert!(with(b"aaaa", b"aaab").is_ok());
        for (from, to) in [("aaaa", "cccc"), ("aaaa", "bbbb"), ("alarm", "lease")] {
            assert_eq!(with(from.as_bytes(), to.as_bytes()), Err(DISORDER), "{to}");
        }
        let mut moved = file.clone();
        moved[3 * PAGE] ^= 1;
        assert_eq!(read(&moved), Err(Damaged("a page has the number of another one")));
        let mut nested = file.clone();
        nested[4 * PAGE + PAGE_HEADER] = 1;
        assert_eq!(read(&nested), Err(Damaged("a bucket in a bucket, which etcd has not")));
    }

    /// bbolt would not find this key. Its branch (page 9) names six leaves of 68 records.
    #[test]
    fn a_key_that_its_branch_excludes_is_damage() {
        let mut bucket = Bucket::new("key");
        (0u32..400).for_each(|n| bucket.put(n.to_be_bytes().to_vec(), vec![1; 40]));
        let mut file = write(vec![bucket]);
        let second = 9 * PAGE + PAGE_HEADER + 6 * ELEMENT + 7; // the last byte of its second key
        assert_eq!(file[second], 68);
        for wrong in [67, 69] {
            file[second] = wrong;
            assert_eq!(read(&file), Err(DISORDER), "{wrong}");
        }
    }

    /// Thirty pages, each with the next one twice, are a billion ways through them.
    #[test]
    fn a_small_file_cannot_say_much() {
        let file = |pages: Vec<Vec<u8>>, total: u64| {
            let mut file = [meta(0, 3, 2, total), meta(1, 3, 2, total)].concat();
            file.resize(3 * PAGE, 0);
            for mut page in pages {
                page.resize(PAGE, 0);
                file.extend(page);
            }
            file
        };
        let branch = |id: u64, to: &[u64]| {
            let mut page = header(id, BRANCH, to.len() as u16, 0);
            for to in to {
                page.extend([0; 8]);
                page.extend(to.to_le_bytes());
            }
            page
        };
        let mut pages: Vec<Vec<u8>> = (3..33).map(|id| branch(id, &[id + 1; 2])).collect();
        pages.push(header(33, LEAF, 0, 0));
        assert_eq!(read(&file(pages, 34)), Err(Damaged("a page is in its tree twice")));
        // one bucket, in page 4, of which all records are the same bytes
        let mut top = header(3, LEAF, 1, 0);
        [BUCKET, 16, 1, 16].iter().for_each(|n| top.extend(n.to_le_bytes()));
        top.extend(b"k");
        [4u64, 0].iter().for_each(|n| top.extend(n.to_le_bytes()));
        let mut leaf = header(4, LEAF, 200, 0);
        for key in 1..=200u32 {
            // each key begins as the one before it and is longer: they are in their order
            [0, 16, key, 300].iter().for_each(|n| leaf.extend(n.to_le_bytes()));
        }
        assert_eq!(read(&file(vec![top, leaf], 5)).err(), Some(Damaged("its records overlap")));
        assert!(size(&file(vec![], u64::MAX)).is_err());
    }
}
