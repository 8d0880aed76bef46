//! Matches a regular expression in one pass: a nondeterministic automaton, whose sets of states
//! become the states of a deterministic one when they are first reached.

use super::{Ahead, Node, Scan, Set};
use std::collections::HashMap;

/// States of the nondeterministic automaton; `((a{1000}){1000}){1000}` would have 10⁹.
const MAX_STATES: usize = 30_000;
/// Remembered sets of states, 1 KiB each. The memory is emptied when there are more.
const MAX_SETS: usize = 1000;
const UNKNOWN: u32 = u32::MAX;

#[derive(Debug)]
enum State {
    /// Takes a byte of a set: the index of the set, and the state behind the byte.
    Byte(usize, u32),
    Both(u32, u32),
    Begin(u32),
    End(u32),
    Match,
}

/// A state of the deterministic automaton.
#[derive(Debug)]
struct KnownState {
    states: Vec<u32>,
    accepts: bool,
    accepts_at_end: bool,
    /// No further byte leads to a match, or makes one longer.
    dead: bool,
    next: Box<[u32; 256]>,
}

/// The deterministic automaton, as far as it is known.
#[derive(Debug, Default)]
struct Known {
    nodes: Vec<KnownState>,
    numbers: HashMap<Vec<u32>, u32>,
    /// The state before the first byte of a match: elsewhere, and at the start of the text.
    begins: [Option<u32>; 2],
}

impl Known {
    /// Empties the memory when it is full.
    fn make_room(&mut self) {
        if self.nodes.len() > MAX_SETS {
            *self = Known::default();
        }
    }
}

#[derive(Debug)]
pub(super) struct Automaton {
    states: Vec<State>,
    sets: Vec<Set>,
    start: u32,
    /// The bytes with which a match can begin; `None` if it may be empty or begin with `$`.
    first: Option<Box<Set>>,
    /// Whether the empty text matches: only there `^` and `$` hold at the same place.
    matches_empty_text: bool,
    anchored: Known,
    /// The states of a search in which a match may begin at every later byte, too.
    floating: Known,
}

impl Automaton {
    pub(super) fn new(node: &Node) -> Result<Automaton, String> {
        let mut automaton = Automaton {
            states: vec![State::Match],
            sets: Vec::new(),
            start: 0,
            first: None,
            matches_empty_text: false,
            anchored: Known::default(),
            floating: Known::default(),
        };
        automaton.start = automaton.build(node, 0)?;
        let begin = automaton.closure(&[automaton.start], true, true);
        automaton.matches_empty_text = begin.first() == Some(&0);
        let mut first = Box::new([false; 256]);
        for &state in &begin {
            match &automaton.states[state as usize] {
                State::Byte(set, _) => {
                    first.iter_mut().zip(&automaton.sets[*set]).for_each(|(all, one)| *all |= one);
                }
                _ => return Ok(automaton),
            }
        }
        automaton.first = Some(first);
        Ok(automaton)
    }

    fn push(&mut self, state: State) -> Result<u32, String> {
        if self.states.len() >= MAX_STATES {
            return Err("too many repetitions".into());
        }
        self.states.push(state);
        Ok(self.states.len() as u32 - 1)
    }

    /// Adds the states of a node, from which `next` follows, and returns the first of them.
    fn build(&mut self, node: &Node, next: u32) -> Result<u32, String> {
        match node {
            Node::Empty => Ok(next),
            Node::Begin => self.push(State::Begin(next)),
            Node::End => self.push(State::End(next)),
            Node::Set(set) => {
                self.sets.push(**set);
                self.push(State::Byte(self.sets.len() - 1, next))
            }
            Node::Concat(parts) => parts.iter().rev().try_fold(next, |next, part| self.build(part, next)),
            Node::Either(branches) => {
                let mut all = None;
                for branch in branches.iter().rev() {
                    let one = self.build(branch, next)?;
                    all = Some(match all {
                        None => one,
                        Some(others) => self.push(State::Both(one, others))?,
                    });
                }
                Ok(all.unwrap_or(next))
            }
            Node::Repeat(node, min, max) => self.repeat(node, *min, *max, next),
        }
    }

    fn repeat(&mut self, node: &Node, min: usize, max: Option<usize>, next: u32) -> Result<u32, String> {
        let mut start = next;
        let mut copies = min;
        match max {
            None => {
                // The choice between the body and what follows stands behind the body, so the body
                // itself is the first of the copies that must match.
                let choice = self.push(State::Both(next, next))?;
                let body = self.build(node, choice)?;
                self.states[choice as usize] = State::Both(body, next);
                start = if min > 0 { body } else { choice };
                copies = min.saturating_sub(1);
            }
            Some(max) => {
                for _ in min..max {
                    let body = self.build(node, start)?;
                    if body == start {
                        break; // the node is empty
                    }
                    start = self.push(State::Both(body, next))?;
                }
            }
        }
        for _ in 0..copies {
            let body = self.build(node, start)?;
            if body == start {
                break;
            }
            start = body;
        }
        Ok(start)
    }

    /// Returns the states that are reached without a byte, sorted. Anchors are passed only where
    /// they hold.
    fn closure(&self, from: &[u32], at_start: bool, at_end: bool) -> Vec<u32> {
        let mut seen = vec![false; self.states.len()];
        let (mut open, mut reached) = (from.to_vec(), Vec::new());
        while let Some(state) = open.pop() {
            if std::mem::replace(&mut seen[state as usize], true) {
                continue;
            }
            match self.states[state as usize] {
                State::Both(one, other) => open.extend([one, other]),
                State::Begin(next) if at_start => open.push(next),
                State::Begin(_) => {}
                State::End(next) if at_end => {
                    reached.push(state);
                    open.push(next);
                }
                State::Byte(..) | State::End(_) | State::Match => reached.push(state),
            }
        }
        reached.sort_unstable();
        reached
    }

    fn known_states(&mut self, floating: bool) -> &mut Known {
        if floating { &mut self.floating } else { &mut self.anchored }
    }

    /// Returns the number of the deterministic state for a set of states.
    fn state_number(&mut self, floating: bool, states: Vec<u32>) -> u32 {
        if let Some(&number) = self.known_states(floating).numbers.get(&states) {
            return number;
        }
        let accepts = states.first() == Some(&0);
        let accepts_at_end = accepts || self.closure(&states, false, true).first() == Some(&0);
        let dead = match floating {
            false => !states.iter().any(|&state| matches!(self.states[state as usize], State::Byte(..))),
            true => states.is_empty() && self.closure(&[self.start], false, false).is_empty(),
        };
        let known = self.known_states(floating);
        let number = known.nodes.len() as u32;
        known.numbers.insert(states.clone(), number);
        known.nodes.push(KnownState {
            states,
            accepts,
            accepts_at_end,
            dead,
            next: Box::new([UNKNOWN; 256]),
        });
        number
    }

    fn first_state(&mut self, floating: bool, at_start: bool) -> u32 {
        let known = self.known_states(floating);
        known.make_room();
        if let Some(number) = known.begins[usize::from(at_start)] {
            return number;
        }
        let states = self.closure(&[self.start], at_start, false);
        let number = self.state_number(floating, states);
        self.known_states(floating).begins[usize::from(at_start)] = Some(number);
        number
    }

    /// Returns the state after one byte. For `ab*` from the state {a}: the byte `a` leads to the
    /// states that follow, which are {b, match}; this set gets a number when it is first reached,
    /// and the number is remembered for the byte, so the next `a` here is one look into a table.
    fn next_state(&mut self, floating: bool, from: u32, byte: u8) -> u32 {
        let node = &self.known_states(floating).nodes[from as usize];
        let next = node.next[usize::from(byte)];
        if next != UNKNOWN {
            return next;
        }
        let mut targets = Vec::new();
        let states =
            if floating { &self.floating } else { &self.anchored }.nodes[from as usize].states.clone();
        for state in states {
            if let State::Byte(set, next) = self.states[state as usize]
                && self.sets[set][usize::from(byte)]
            {
                targets.push(next);
            }
        }
        if floating {
            targets.push(self.start);
        }
        let reached = self.closure(&targets, false, false);
        if self.known_states(floating).nodes.len() > MAX_SETS {
            self.known_states(floating).make_room();
            return self.state_number(floating, reached);
        }
        let next = self.state_number(floating, reached);
        self.known_states(floating).nodes[from as usize].next[usize::from(byte)] = next;
        next
    }

    /// Returns whether a match begins at `from` or later.
    pub(super) fn is_match(&mut self, text: &[u8], from: usize) -> bool {
        if text.is_empty() {
            return self.matches_empty_text;
        }
        let mut state = self.first_state(true, from == 0);
        for &byte in &text[from..] {
            let node = &self.floating.nodes[state as usize];
            if node.accepts || node.dead {
                return node.accepts;
            }
            state = self.next_state(true, state, byte);
        }
        self.floating.nodes[state as usize].accepts_at_end
    }

    pub(super) fn find(&mut self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        if text.is_empty() {
            return (from == 0 && self.matches_empty_text).then_some((0, 0));
        }
        if from > text.len() || !self.is_match(text, from) {
            return None;
        }
        (from..=text.len()).find_map(|start| {
            if let Some(first) = &self.first
                && !text.get(start).is_some_and(|&byte| first[usize::from(byte)])
            {
                return None;
            }
            self.longest(text, start, true).0.map(|end| (start, end))
        })
    }

    /// See [`super::Regex::resume`].
    pub(super) fn resume(&mut self, text: &[u8], scan: &mut Scan) -> bool {
        let mut state = match scan.states.take() {
            Some(states) => self.state_number(true, states),
            None => self.first_state(true, true),
        };
        for &byte in &text[scan.at..] {
            if self.floating.nodes[state as usize].accepts {
                return true;
            }
            state = self.next_state(true, state, byte);
        }
        let node = &self.floating.nodes[state as usize];
        *scan = Scan { at: text.len(), states: Some(node.states.clone()) };
        node.accepts
    }

    /// See [`super::Regex::find_ahead`].
    pub(super) fn find_ahead(&mut self, text: &[u8], ended: bool) -> Ahead {
        for (start, &byte) in text.iter().enumerate() {
            if let Some(first) = &self.first
                && !first[usize::from(byte)]
            {
                continue;
            }
            let (end, open) = self.longest(text, start, ended);
            if open && !ended {
                return Ahead::Open;
            }
            if let Some(end) = end.filter(|&end| end > start) {
                return Ahead::Match(start, end);
            }
        }
        Ahead::None
    }

    /// Returns the end of the longest match that begins exactly at `start`, and whether bytes
    /// behind the text could make a match or a longer one. `$` holds at the end of the text if it
    /// has `ended`.
    fn longest(&mut self, text: &[u8], start: usize, ended: bool) -> (Option<usize>, bool) {
        let mut state = self.first_state(false, start == 0);
        let mut found = None;
        for (at, &byte) in text.iter().enumerate().skip(start) {
            let node = &self.anchored.nodes[state as usize];
            if node.accepts {
                found = Some(at);
            }
            if node.dead {
                return (found, false);
            }
            state = self.next_state(false, state, byte);
        }
        let node = &self.anchored.nodes[state as usize];
        let accepts = if ended { node.accepts_at_end } else { node.accepts };
        (if accepts { Some(text.len()) } else { found }, !node.dead)
    }
}
