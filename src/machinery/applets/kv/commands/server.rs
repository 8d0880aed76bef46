//! Commands about the server and the connection.

use super::super::store::Fault;
use super::{COMMANDS, Call, MEMORY_MAX};
use std::fmt::Write as _;

pub(super) fn ping(call: &mut Call) -> Result<(), Fault> {
    match call.words.as_slice() {
        [_] => call.out.status("PONG"),
        [_, text] => call.out.bulk(text),
        _ => return Err(call.wrong_arity()),
    }
    Ok(())
}

pub(super) fn echo(call: &mut Call) -> Result<(), Fault> {
    call.out.bulk(&call.words[1]);
    Ok(())
}

pub(super) fn select(call: &mut Call) -> Result<(), Fault> {
    if call.number(1)? != 0 {
        return Err("ERR DB index is out of range".into());
    }
    call.out.ok();
    Ok(())
}

pub(super) fn quit(call: &mut Call) -> Result<(), Fault> {
    call.effects.closes = true;
    call.out.ok();
    Ok(())
}

pub(super) fn time(call: &mut Call) -> Result<(), Fault> {
    call.out.array(2);
    call.out.bulk((call.now / 1000).to_string().as_bytes());
    call.out.bulk((call.now % 1000 * 1000).to_string().as_bytes());
    Ok(())
}

const NO_DISK: Fault = Fault::Borrowed("ERR this server keeps its data in memory only; start it with --dir");

pub(super) fn save(call: &mut Call) -> Result<(), Fault> {
    call.facts.log_size.ok_or(NO_DISK)?;
    call.effects.saves = true;
    call.out.ok();
    Ok(())
}

/// Has the data saved. There is no background: it is done before the reply.
pub(super) fn bgsave(call: &mut Call) -> Result<(), Fault> {
    call.facts.log_size.ok_or(NO_DISK)?;
    call.effects.saves = true;
    call.out.status("Background saving started");
    Ok(())
}

fn unknown_subcommand(call: &Call, name: &str) -> Fault {
    let word = String::from_utf8_lossy(call.word(1)).chars().take(128).collect::<String>();
    format!("ERR unknown subcommand '{word}'. Try {name} HELP.").into()
}

/// Returns what clients ask at their start: `COMMAND`, `COMMAND COUNT`, `COMMAND DOCS`.
pub(super) fn command(call: &mut Call) -> Result<(), Fault> {
    if call.words.len() == 1 || call.is(1, "DOCS") || call.is(1, "INFO") {
        call.out.array(0);
    } else if call.is(1, "COUNT") {
        call.out.count(COMMANDS.len());
    } else if call.is(1, "LIST") {
        call.out.array(COMMANDS.len());
        COMMANDS.iter().for_each(|command| call.out.bulk(command.name.as_bytes()));
    } else {
        return Err(unknown_subcommand(call, "COMMAND"));
    }
    Ok(())
}

pub(super) fn client(call: &mut Call) -> Result<(), Fault> {
    if call.is(1, "SETNAME") && call.words.len() == 3 {
        if call.word(2).iter().any(|byte| !(b'!'..=b'~').contains(byte)) {
            return Err("ERR Client names cannot contain spaces, newlines or special characters.".into());
        }
        *call.name = call.take(2);
        call.out.ok();
    } else if call.is(1, "GETNAME") && call.words.len() == 2 {
        let name = Some(call.name.as_slice()).filter(|name| !name.is_empty());
        call.out.bulk_or_nil(name);
    } else if call.is(1, "SETINFO") && call.words.len() == 4 {
        call.out.ok();
    } else {
        return Err(unknown_subcommand(call, "CLIENT"));
    }
    Ok(())
}

pub(super) fn info(call: &mut Call) -> Result<(), Fault> {
    let facts = call.facts;
    // `INFO`, `INFO memory`, and since Redis 7 `INFO server memory`.
    let sections: Vec<Vec<u8>> = call.words[1..].iter().map(|word| word.to_ascii_lowercase()).collect();
    let wanted = |name: &str| {
        let names = ["all", "default", "everything", name].map(str::as_bytes);
        sections.is_empty() || sections.iter().any(|section| names.contains(&section.as_slice()))
    };
    let mut text = String::new();
    if wanted("server") {
        // A String takes everything.
        let _ = write!(
            text,
            "# Server\r\nserver_name:kv-server, a small program of Ropewalk\r\nserver_version:{}\r\n\
             protocol:a part of RESP2\r\nprocess_id:{}\r\ntcp_port:{}\r\nuptime_in_seconds:{}\r\n\r\n",
            env!("CARGO_PKG_VERSION"),
            std::process::id(),
            facts.port,
            facts.uptime_seconds
        );
    }
    if wanted("clients") {
        let _ = write!(text, "# Clients\r\nconnected_clients:{}\r\n\r\n", facts.clients);
    }
    if wanted("memory") {
        let _ = write!(text, "# Memory\r\nused_memory:{}\r\nmaxmemory:{MEMORY_MAX}\r\n\r\n", call.db.used());
    }
    if wanted("persistence") {
        let (is_kept, size) = (i32::from(facts.log_size.is_some()), facts.log_size.unwrap_or(0));
        let _ = write!(text, "# Persistence\r\naof_enabled:{is_kept}\r\naof_current_size:{size}\r\n\r\n");
    }
    if wanted("keyspace") {
        text += "# Keyspace\r\n";
        if call.db.len() > 0 {
            let _ = write!(text, "db0:keys={},expires={}\r\n", call.db.len(), call.db.expiring());
        }
    }
    call.out.bulk(text.as_bytes());
    Ok(())
}
