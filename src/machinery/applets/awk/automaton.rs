//! Matches a regular expression in one pass: a nondeterministic automaton, whose sets of states
//! become the states of a deterministic one when they are first reached.

use super::regex::{Node, Set};
use std::collections::HashMap;

/// States of the nondeterministic automaton; `((a{1000}){1000}){1000}` would have 10⁹.
const MAX_STATES: usize = 30_000;
/// Remembered sets of states, 1 KiB each. The memory is emptied when there are more.
const MAX_SETS: usize = 1000;
const UNKNOWN: u32 = u32::MAX;

#[derive(Debug)]
enum State {
    /// Index of its set, and the state after it.
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
    /// No byte leads to a match from here.
    dead: bool,
    next: Box<[u32; 256]>,
}

/// The deterministic automaton, as far as it is known.
#[derive(Debug)]
struct Known {
    nodes: Vec<KnownState>,
    numbers: HashMap<Vec<u32>, u32>,
}

#[derive(Debug)]
pub(super) struct Automaton {
    states: Vec<State>,
    sets: Vec<Set>,
    start: u32,
    /// The bytes with which a match can begin; `None` if it may be empty or begins with an anchor.
    first: Option<Box<Set>>,
    anchored: Known,
    /// Here a match may begin at every later byte too.
    floating: Known,
}

impl Automaton {
    pub(super) fn new(node: &Node) -> Result<Automaton, String> {
        let known = || Known { nodes: Vec::new(), numbers: HashMap::new() };
        let mut automaton = Automaton {
            states: vec![State::Match],
            sets: Vec::new(),
            start: 0,
            first: None,
            anchored: known(),
            floating: known(),
        };
        automaton.start = automaton.build(node, 0)?;
        let begin = automaton.closure(&[automaton.start], true, true);
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
        match max {
            None => {
                start = self.push(State::Both(next, next))?;
                let body = self.build(node, start)?;
                self.states[start as usize] = State::Both(body, next);
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
        for _ in 0..min {
            let body = self.build(node, start)?;
            if body == start {
                break;
            }
            start = body;
        }
        Ok(start)
    }

    /// The states that are reached without a byte, sorted. Anchors are passed only where they hold.
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

    fn known(&mut self, floating: bool) -> &mut Known {
        if floating { &mut self.floating } else { &mut self.anchored }
    }

    /// The number of the deterministic state for a set of states.
    fn number(&mut self, floating: bool, states: Vec<u32>) -> u32 {
        if let Some(&number) = self.known(floating).numbers.get(&states) {
            return number;
        }
        let accepts = states.first() == Some(&0);
        let accepts_at_end = accepts || self.closure(&states, false, true).first() == Some(&0);
        let dead = states.is_empty() && (!floating || self.closure(&[self.start], false, false).is_empty());
        let known = self.known(floating);
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

    fn begin(&mut self, floating: bool, at_start: bool) -> u32 {
        let known = self.known(floating);
        if known.nodes.len() > MAX_SETS {
            known.nodes.clear();
            known.numbers.clear();
        }
        let states = self.closure(&[self.start], at_start, false);
        self.number(floating, states)
    }

    fn step(&mut self, floating: bool, from: u32, byte: u8) -> u32 {
        let node = &self.known(floating).nodes[from as usize];
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
        if self.known(floating).nodes.len() > MAX_SETS {
            let known = self.known(floating);
            known.nodes.clear();
            known.numbers.clear();
            return self.number(floating, reached);
        }
        let next = self.number(floating, reached);
        self.known(floating).nodes[from as usize].next[usize::from(byte)] = next;
        next
    }

    /// Whether a match begins at `from` or later.
    pub(super) fn is_match(&mut self, text: &[u8], from: usize) -> bool {
        let mut state = self.begin(true, from == 0);
        for &byte in &text[from..] {
            let node = &self.floating.nodes[state as usize];
            if node.accepts || node.dead {
                return node.accepts;
            }
            state = self.step(true, state, byte);
        }
        self.floating.nodes[state as usize].accepts_at_end
    }

    pub(super) fn find(&mut self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        if from > text.len() || !self.is_match(text, from) {
            return None;
        }
        (from..=text.len()).find_map(|start| {
            if let Some(first) = &self.first
                && !text.get(start).is_some_and(|&byte| first[usize::from(byte)])
            {
                return None;
            }
            self.longest(text, start).map(|end| (start, end))
        })
    }

    /// The end of the longest match that begins exactly at `start`.
    fn longest(&mut self, text: &[u8], start: usize) -> Option<usize> {
        let mut state = self.begin(false, start == 0);
        let mut found = None;
        for (at, &byte) in text.iter().enumerate().skip(start) {
            let node = &self.anchored.nodes[state as usize];
            if node.accepts {
                found = Some(at);
            }
            if node.dead {
                return found;
            }
            state = self.step(false, state, byte);
        }
        if self.anchored.nodes[state as usize].accepts_at_end { Some(text.len()) } else { found }
    }
}
