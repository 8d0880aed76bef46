//! Walks syntax trees. Simple commands are in [`super::simple`].

use super::{Flow, Run, Shell, pattern};
use brush_parser::ast::{
    AndOr, AndOrList, CaseClauseCommand, CaseItemPostAction, Command, CompoundCommand, CompoundList,
    CompoundListItem, ForClauseCommand, IfClauseCommand, Pipeline, Program, RedirectList, SeparatorOperator,
    WhileOrUntilClauseCommand,
};
use linux::fork::Side;
use linux::{fds, script_fds};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// What a loop does after one turn.
enum Turn {
    Again(i32),
    Leave(i32),
}

/// Takes away one level of a jump.
fn turn(result: Run) -> Result<Turn, Flow> {
    match result {
        Ok(status) => Ok(Turn::Again(status)),
        Err(Flow::Break(1)) => Ok(Turn::Leave(0)),
        Err(Flow::Continue(1)) => Ok(Turn::Again(0)),
        Err(Flow::Break(n)) => Err(Flow::Break(n - 1)),
        Err(Flow::Continue(n)) => Err(Flow::Continue(n - 1)),
        Err(jump) => Err(jump),
    }
}

/// Returns the commands of a list that is one pipeline of several and nothing else.
fn plain_pipeline(list: &AndOrList) -> Option<&[Command]> {
    let Pipeline { timed: None, bang: false, seq } = &list.first else { return None };
    (list.additional.is_empty() && seq.len() > 1).then_some(seq)
}

impl Shell {
    /// `last` everywhere: nothing comes after it in this process.
    pub(super) fn program(&mut self, program: &Program, last: bool) -> Run {
        let count = program.complete_commands.len();
        for (i, list) in program.complete_commands.iter().enumerate() {
            self.list(list, last && i + 1 == count)?;
        }
        Ok(self.status)
    }

    pub(super) fn list(&mut self, list: &CompoundList, last: bool) -> Run {
        let count = list.0.len();
        for (i, CompoundListItem(commands, separator)) in list.0.iter().enumerate() {
            // `set -n`: from here on it is only read. A person could not leave such a shell.
            if self.state.flag('n') && !self.interactive {
                return Ok(self.status);
            }
            if matches!(separator, SeparatorOperator::Async) {
                self.in_background(commands)?;
            } else {
                self.and_or(commands, last && i + 1 == count)?;
            }
            self.run_traps()?;
        }
        Ok(self.status)
    }

    fn in_background(&mut self, commands: &AndOrList) -> Run {
        let mut pids = Vec::new();
        let started = match plain_pipeline(commands) {
            // `$!` is the last process of the pipeline itself, as in all shells: a shell around it
            // would be ended by `kill $!`, and the pipeline would go on.
            Some(members) => self.start_pipe(members, false, &mut pids),
            None => match self.fork_background(None)? {
                Side::Child => {
                    let result = self.and_or(commands, true);
                    self.leave(result)
                }
                Side::Parent(pid) => {
                    pids.push(pid);
                    Ok(())
                }
            },
        };
        if let Some(last) = pids.last() {
            let text = super::apostrophes::restored(&commands.to_string());
            self.jobs.add_command(&pids, self.state.pipefail, text);
            self.background = Some(*last);
        }
        started?;
        self.done(0)
    }

    fn and_or(&mut self, list: &AndOrList, last: bool) -> Run {
        let count = list.additional.len();
        let mut status = self.as_condition(count > 0, |sh| sh.pipeline(&list.first, last && count == 0))?;
        for (i, next) in list.additional.iter().enumerate() {
            let (wanted, pipeline) = match next {
                AndOr::And(pipeline) => (status == 0, pipeline),
                AndOr::Or(pipeline) => (status != 0, pipeline),
            };
            if wanted {
                self.run_traps()?;
                let is_last = i + 1 == count;
                status = self.as_condition(!is_last, |sh| sh.pipeline(pipeline, last && is_last))?;
            }
        }
        Ok(status)
    }

    /// Runs something whose failure, if `condition`, is no error for `set -e`.
    fn as_condition(&mut self, condition: bool, run: impl FnOnce(&mut Shell) -> Run) -> Run {
        self.conditions += u32::from(condition);
        let result = run(self);
        self.conditions -= u32::from(condition);
        result
    }

    fn pipeline(&mut self, pipeline: &Pipeline, last: bool) -> Run {
        match &pipeline.timed {
            None => self.untimed(pipeline, last),
            Some(how) => self.timed(how, |sh| sh.untimed(pipeline, false)),
        }
    }

    fn untimed(&mut self, pipeline: &Pipeline, last: bool) -> Run {
        let status = self.as_condition(pipeline.bang, |sh| match &pipeline.seq[..] {
            [only] => sh.command(only, last && !pipeline.bang),
            commands => sh.pipe(commands),
        })?;
        if pipeline.bang {
            return self.done(i32::from(status == 0));
        }
        self.status = status;
        // A compound command checked its parts itself; a subshell and `((…))` are commands.
        let compound = match &pipeline.seq[..] {
            [Command::Compound(command, _)] => {
                !matches!(command, CompoundCommand::Subshell(_) | CompoundCommand::Arithmetic(_))
            }
            _ => false,
        };
        if status != 0 && !compound && self.conditions == 0 && self.state.flag('e') {
            return Err(Flow::Exit(status));
        }
        Ok(status)
    }

    fn pipe(&mut self, commands: &[Command]) -> Run {
        let mut pids = Vec::new();
        let started = self.start_pipe(commands, true, &mut pids);
        // Known before the first of them is waited for, else a status would be lost.
        pids.iter().for_each(|pid| self.jobs.add(*pid));
        started?;
        let exits: Vec<_> = pids.into_iter().map(|pid| self.wait_for(pid)).collect();
        self.take_terminal();
        let failed = exits.iter().rev().find(|exit| exit.code() != 0).filter(|_| self.state.pipefail);
        match failed.or(exits.last()) {
            Some(exit) => self.after_foreground(*exit),
            None => Ok(0),
        }
    }

    /// Starts the commands of a pipeline, each in a child that reads what the one before writes.
    /// `pids` gets those that were started, even if one could not be.
    fn start_pipe(&mut self, commands: &[Command], wait: bool, pids: &mut Vec<i32>) -> Result<(), Flow> {
        let mut input: Option<OwnedFd> = None;
        for (i, command) in commands.iter().enumerate() {
            let output = if i + 1 < commands.len() { Some(self.new_pipe()?) } else { None };
            let leader = pids.first().copied();
            match if wait { self.fork_foreground(leader)? } else { self.fork_background(leader)? } {
                Side::Child => {
                    let connect = || -> std::io::Result<()> {
                        if let Some(input) = &input {
                            script_fds::assign(0, input.as_fd())?;
                        }
                        output.as_ref().map_or(Ok(()), |(_, write)| script_fds::assign(1, write.as_fd()))
                    };
                    if let Err(e) = connect() {
                        self.complain(super::reason(&e));
                        self.leave(Ok(2));
                    }
                    drop((input, output));
                    let result = self.command(command, true);
                    self.leave(result)
                }
                Side::Parent(pid) => {
                    pids.push(pid);
                    input = output.map(|(read, _)| read);
                }
            }
        }
        Ok(())
    }

    /// Makes a pipe whose ends no script can name: (read, write).
    pub(super) fn new_pipe(&mut self) -> Result<(OwnedFd, OwnedFd), Flow> {
        let made = fds::pipe().and_then(|(r, w)| Ok((script_fds::above(r)?, script_fds::above(w)?)));
        made.map_err(|e| {
            self.complain(format_args!("cannot make a pipe: {}", super::reason(&e)));
            Flow::Abort(2)
        })
    }

    fn command(&mut self, command: &Command, last: bool) -> Run {
        self.deeper()?;
        match command {
            Command::Simple(simple) => self.simple(simple, last),
            Command::Compound(compound, None) => self.compound(compound, last),
            Command::Compound(compound, Some(redirects)) => {
                self.redirected_compound(compound, redirects, last)
            }
            Command::Function(function) => {
                self.functions.insert(function.fname.value.clone(), Rc::new(function.body.clone()));
                self.done(0)
            }
            Command::ExtendedTest(test, None) => self.extended_test(&test.expr),
            Command::ExtendedTest(test, Some(redirects)) => match self.redirect(redirects.0.iter())? {
                Ok(saved) => {
                    let result = self.extended_test(&test.expr);
                    super::redirect::restore(saved);
                    result
                }
                Err(status) => self.done(status),
            },
        }
    }

    /// Runs a compound command with redirections. One that fails is a failure for `set -e`,
    /// whatever the command is.
    pub(super) fn redirected_compound(
        &mut self,
        compound: &CompoundCommand,
        redirects: &RedirectList,
        last: bool,
    ) -> Run {
        match self.redirect(redirects.0.iter())? {
            // A child that has nothing else to do undoes nothing.
            Ok(saved) if last && self.is_plain_child() => {
                drop(saved);
                self.compound(compound, true)
            }
            Ok(saved) => {
                let result = self.compound(compound, false);
                super::redirect::restore(saved);
                result
            }
            Err(status) if self.conditions == 0 && self.state.flag('e') => Err(Flow::Exit(status)),
            Err(status) => self.done(status),
        }
    }

    pub(super) fn compound(&mut self, command: &CompoundCommand, last: bool) -> Run {
        match command {
            CompoundCommand::BraceGroup(group) => self.list(&group.list, last),
            // A child that has nothing else to do is the subshell: `kill $!` must meet the right
            // one. Not with traps, which the subshell inside does not have.
            CompoundCommand::Subshell(inner) if last && self.is_plain_child() => {
                let result = self.list(&inner.list, true);
                Err(Flow::Exit(self.finish(result)))
            }
            CompoundCommand::Subshell(inner) => match self.fork_foreground(None)? {
                Side::Child => {
                    let result = self.list(&inner.list, true);
                    self.leave(result)
                }
                Side::Parent(pid) => self.foreground(pid),
            },
            CompoundCommand::IfClause(clause) => self.if_clause(clause, last),
            CompoundCommand::WhileClause(clause) => self.while_clause(clause, true),
            CompoundCommand::UntilClause(clause) => self.while_clause(clause, false),
            CompoundCommand::ForClause(clause) => self.for_clause(clause),
            CompoundCommand::CaseClause(clause) => self.case_clause(clause),
            CompoundCommand::Arithmetic(sum) => {
                let value = self.arithmetic(&sum.expr.value)?;
                self.done(i32::from(value == 0))
            }
            CompoundCommand::ArithmeticForClause(_) => self.refuse("for (("),
            CompoundCommand::Coprocess(_) => self.refuse("coproc"),
        }
    }

    /// Returns whether this is a subshell whose end runs no trap.
    fn is_plain_child(&self) -> bool {
        self.subshell && !self.interactive && self.has_only_ignoring_traps()
    }

    fn refuse(&mut self, what: &str) -> Run {
        self.complain(format_args!("{what}: not implemented by this shell"));
        self.done(2)
    }

    fn condition(&mut self, list: &CompoundList) -> Run {
        self.as_condition(true, |sh| sh.list(list, false))
    }

    fn if_clause(&mut self, clause: &IfClauseCommand, last: bool) -> Run {
        if self.condition(&clause.condition)? == 0 {
            return self.list(&clause.then, last);
        }
        for branch in clause.elses.iter().flatten() {
            let chosen = match &branch.condition {
                None => true,
                Some(condition) => self.condition(condition)? == 0,
            };
            if chosen {
                return self.list(&branch.body, last);
            }
        }
        self.done(0)
    }

    /// Runs `turns` as the inside of a loop.
    fn looping(&mut self, turns: impl FnOnce(&mut Shell) -> Run) -> Run {
        self.loops += 1;
        let result = turns(self);
        self.loops -= 1;
        let status = result?;
        self.done(status)
    }

    fn while_clause(&mut self, clause: &WhileOrUntilClauseCommand, wanted: bool) -> Run {
        self.looping(|sh| {
            let mut status = 0;
            loop {
                let condition = sh.condition(&clause.0);
                let jumped = condition.is_err();
                match turn(condition)? {
                    Turn::Leave(status) => return Ok(status),
                    Turn::Again(_) if jumped => continue,
                    Turn::Again(result) if (result == 0) != wanted => return Ok(status),
                    Turn::Again(_) => {}
                }
                match turn(sh.list(&clause.1.list, false))? {
                    Turn::Leave(status) => return Ok(status),
                    Turn::Again(result) => status = result,
                }
            }
        })
    }

    fn for_clause(&mut self, clause: &ForClauseCommand) -> Run {
        let values = match &clause.values {
            None => self.args.clone(),
            Some(words) => {
                let mut values = Vec::new();
                for word in words {
                    values.extend(self.words(&word.value)?);
                }
                values
            }
        };
        self.looping(|sh| {
            let mut status = 0;
            for value in values {
                sh.set(&clause.variable_name, value)?;
                match turn(sh.list(&clause.body.list, false))? {
                    Turn::Leave(status) => return Ok(status),
                    Turn::Again(result) => status = result,
                }
            }
            Ok(status)
        })
    }

    fn case_clause(&mut self, clause: &CaseClauseCommand) -> Run {
        let value: Vec<char> = self.one(&clause.value.value)?.chars().collect();
        let mut fall_through = false;
        let mut status = 0;
        for item in &clause.cases {
            let mut fits = fall_through;
            for word in &item.patterns {
                if fits {
                    break;
                }
                let pattern = self.pattern(&word.value)?;
                fits = pattern::matches(&pattern, &value);
            }
            if !fits {
                continue;
            }
            status = match &item.cmd {
                Some(list) => self.list(list, false)?,
                None => 0,
            };
            match item.post_action {
                CaseItemPostAction::ExitCase => return self.done(status),
                CaseItemPostAction::UnconditionallyExecuteNextCaseItem => fall_through = true,
                CaseItemPostAction::ContinueEvaluatingCases => fall_through = false,
            }
        }
        self.done(status)
    }
}
