//! Scripts, and what dash does with them.

use crate::Room;

/// A script, its output and its status.
type Case = (&'static str, &'static str, i32);

/// Where the scripts use what dash lacks, bash is the reference.
const CASES: &[Case] = &[("echo a; exit 3", "a\n", 3)];

pub fn scripts_do_what_dash_does(room: &Room) {
    for (script, out, code) in CASES {
        let told = room.sh(script);
        assert_eq!((told.out.as_str(), told.code), (*out, *code), "{script}\n{}", told.err);
    }
}
