//! Scripts, and what dash does with them.

use crate::Room;

/// A script, its output and its status.
type Case = (&'static str, &'static str, i32);

/// Where the scripts use what dash lacks, bash is the reference.
const CASES: &[Case] = &[
    ("echo a; exit 3", "a\n", 3),
    // `$!` is the last process of a pipeline, and the pipeline has ended when all of them have.
    ("sleep 0.1 | sleep 60 & kill $!; wait $!; echo $?", "143\n", 0),
    ("sleep 60 | sleep 60 & kill %1; wait $!; echo $?; kill %1", "143\n", 1),
    ("(sleep 0.1; echo late >f) | sleep 60 & kill $!; wait $!; cat f", "late\n", 0),
    ("cat & wait; echo in | cat | cat & wait $!; echo $?", "in\n0\n", 0),
    ("false & while kill -0 $! 2>&-; do :; done; jobs >f; jobs; wc -l <f", "1\n", 0),
    // next
];

pub fn scripts_do_what_dash_does(room: &Room) {
    for (script, out, code) in CASES {
        let told = room.sh(script);
        assert_eq!((told.out.as_str(), told.code), (*out, *code), "{script}\n{}", told.err);
    }
}
