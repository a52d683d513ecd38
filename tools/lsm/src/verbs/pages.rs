//! man, completions: made from the command line's own description, so that they cannot say otherwise.

use super::Context;
use crate::cli::{Cli, Completions, Man};
use crate::exit::{Failure, Outcome, TABLE};
use clap::CommandFactory as _;
use clap_mangen::roff::{Roff, bold, roman};

/// `lsm completions`.
pub fn completions(c: &mut Context, args: &Completions) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lsm", &mut script);
    c.out.bytes(&script)
}

/// `lsm man`.
pub fn man(c: &mut Context, args: &Man) -> Outcome {
    let mut command = Cli::command();
    command.build();
    let Some(dir) = &args.dir else {
        let page = whole_page(&command)?;
        return c.out.bytes(&page);
    };
    std::fs::create_dir_all(dir).map_err(|e| Failure::system(dir.display(), &e))?;
    let store = |name: String, page: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, page).map_err(|e| Failure::system(path.display(), &e))
    };
    store("lsm.1".to_string(), &whole_page(&command)?)?;
    for (name, verb) in leaves(&command) {
        let mut page = Vec::new();
        let name = name.replace(' ', "-");
        clap_mangen::Man::new(verb.clone().name(name.clone()).bin_name(name.replace('-', " "))).render(&mut page)?;
        store(format!("{name}.1"), &page)?;
    }
    Ok(())
}

/// Every verb that can be called, with its full name: `lsm dump table`.
fn leaves(command: &clap::Command) -> Vec<(String, &clap::Command)> {
    let mut found = Vec::new();
    for verb in command.get_subcommands() {
        let name = format!("{} {}", command.get_name(), verb.get_name());
        if !verb.has_subcommands() {
            found.push((name, verb));
            continue;
        }
        found.extend(verb.get_subcommands().map(|inner| (format!("{name} {}", inner.get_name()), inner)));
    }
    found
}

/// One page with everything.
fn whole_page(command: &clap::Command) -> Outcome<Vec<u8>> {
    let man = clap_mangen::Man::new(command.clone()).manual("liblsm");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    text_section(&mut page, "DESCRIPTION", DESCRIPTION)?;
    man.render_options_section(&mut page)?;
    verbs_section(&mut page, command)?;
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for (exit, prose) in TABLE {
        roff.control("TP", []);
        roff.text([bold((*exit as u8).to_string())]);
        roff.text([roman(*prose)]);
    }
    roff.to_writer(&mut page)?;
    text_section(&mut page, "ENVIRONMENT", ENVIRONMENT)?;
    text_section(&mut page, "EXAMPLES", EXAMPLES)?;
    Ok(page)
}

const DESCRIPTION: &str = "\
lsm looks into, fills, measures and mends databases of liblsm. Every verb takes the folder of the database first.

Verbs that only read open the database read-only: they write not a byte and may run beside each other. A database that \
another process has open for writing is refused (status 5); dump and find look at its files all the same.

Keys and values are written and read escaped: UTF-8 as it is, but \\\\ for a backslash, \\n, \\r, \\t, and \\xNN for \
control characters and for bytes that are no UTF-8. --hex and --encoding change that, in and out.

With --json answers are JSON, one object, or one a line for verbs that list (get, scan, dump wal, dump table with \
--entries or --blocks, bench); an error is {\"error\": {\"exit\": ..., \"code\": ..., \"message\": ...}} on standard error.";

const ENVIRONMENT: &str = "\
LSM_LIBRARY: the library to use, as --library. Without either it is liblsm.so.1 beside the program, in ../lib, or where \
the loader looks.";

const EXAMPLES: &str = "\
lsm put people.db ada Countess --create

lsm scan people.db --prefix a --json

lsm export people.db people.jsonl && lsm load copy.db people.jsonl

lsm import new.db --from rocksdb /var/lib/old

lsm find people.db ada";

fn text_section(page: &mut Vec<u8>, title: &str, text: &str) -> Outcome {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    for (i, paragraph) in text.split("\n\n").enumerate() {
        if i > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(paragraph)]);
    }
    Ok(roff.to_writer(page)?)
}

/// Every verb with its own arguments; those that all verbs have stand above.
fn verbs_section(page: &mut Vec<u8>, command: &clap::Command) -> Outcome {
    let mut roff = Roff::new();
    roff.control("SH", ["VERBS"]);
    for (name, verb) in leaves(command) {
        roff.control("SS", [name.as_str()]);
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        roff.text([roman(format!("{about}."))]);
        for argument in verb.get_arguments().filter(|a| !a.is_global_set() && a.get_id() != "help") {
            roff.control("TP", []);
            roff.text([bold(argument_text(argument))]);
            let mut help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            let default = argument.get_default_values().iter().map(|v| v.to_string_lossy()).collect::<Vec<_>>();
            if !default.is_empty() && argument.get_action().takes_values() {
                help.push_str(&format!(" [default: {}]", default.join(" ")));
            }
            let values = argument.get_possible_values();
            if !values.is_empty() && argument.get_action().takes_values() {
                let names: Vec<_> = values.iter().map(clap::builder::PossibleValue::get_name).collect();
                help.push_str(&format!(" [{}]", names.join(", ")));
            }
            roff.text([roman(help)]);
        }
    }
    Ok(roff.to_writer(page)?)
}

/// `-k, --keyspace NAME`, or `DB`.
fn argument_text(argument: &clap::Arg) -> String {
    let value = || {
        let names = argument.get_value_names().unwrap_or_default();
        names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let mut parts = Vec::new();
    parts.extend(argument.get_short().map(|short| format!("-{short}")));
    parts.extend(argument.get_long().map(|long| format!("--{long}")));
    match (parts.is_empty(), argument.get_action().takes_values()) {
        (true, _) => value(),
        (false, true) => format!("{} {}", parts.join(", "), value()),
        (false, false) => parts.join(", "),
    }
}
