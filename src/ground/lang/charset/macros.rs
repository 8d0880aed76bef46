//! The standard library's macros for printing, for words that people read: in ASCII if only that
//! may be written.

#[doc(hidden)]
#[macro_export]
macro_rules! __print {
    ($($word:tt)*) => { std::print!("{}", $crate::charset::printable(std::format!($($word)*))) };
}
#[doc(hidden)]
#[macro_export]
macro_rules! __println {
    () => { std::println!() };
    ($($word:tt)*) => { std::println!("{}", $crate::charset::printable(std::format!($($word)*))) };
}
#[doc(hidden)]
#[macro_export]
macro_rules! __eprint {
    ($($word:tt)*) => { std::eprint!("{}", $crate::charset::printable(std::format!($($word)*))) };
}
#[doc(hidden)]
#[macro_export]
macro_rules! __eprintln {
    () => { std::eprintln!() };
    ($($word:tt)*) => { std::eprintln!("{}", $crate::charset::printable(std::format!($($word)*))) };
}
pub use {__eprint as eprint, __eprintln as eprintln, __print as print, __println as println};
