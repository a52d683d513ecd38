//! A page with plots in line: for each set and workload a bar an engine (the median rate, with the range of the rounds)
//! and the other figures in a table. No scripts, nothing is fetched.

use crate::report::{bounds, median, short, time};
use crate::results::Results;
use std::fmt::Write as _;

const STYLE: &str = "\
body{font:14px system-ui,sans-serif;max-width:75em;margin:2em auto;padding:0 1em;color:#222}\
h2{margin-top:2.5em;border-bottom:1px solid #ccc}h3{margin-bottom:.3em}table{border-collapse:collapse}\
td,th{padding:.1em .7em .1em 0;text-align:right;font-size:12px;white-space:nowrap}td:first-child,th:first-child{text-align:left}\
small{color:#666}";

/// Width of the longest bar.
const BAR: f64 = 420.0;

/// The page.
pub fn page(sets: &[Results]) -> String {
    let mut out =
        format!("<!doctype html><html lang=en><meta charset=utf-8><title>lsm-bench</title><style>{STYLE}</style>\n");
    out.push_str(
        "<h1>lsm-bench</h1><p>Bars: operations a second, the median of the rounds; the line across each end is their range. \
         cpu: nanoseconds of all threads an operation.</p>\n",
    );
    for set in sets {
        section(&mut out, set);
    }
    out.push_str("</html>\n");
    out
}

fn section(out: &mut String, set: &Results) {
    let _ = writeln!(out, "<h2>{}</h2><p><code>{}</code></p>", escape(&set.set), escape(set.command()));
    let _ = writeln!(
        out,
        "<p>commit {}, {}, load {:.1} when it began; {} to {}</p><ul>",
        escape(&set.commit),
        escape(&set.machine),
        set.load,
        set.span().0,
        set.span().1
    );
    for about in &set.abouts {
        let _ = writeln!(out, "<li><b>{}</b>: {}</li>", escape(&about.engine), escape(&about.text));
    }
    out.push_str("</ul>\n");
    for workload in set.workloads() {
        chart(out, set, workload);
    }
}

fn chart(out: &mut String, set: &Results, workload: &str) {
    const COLUMNS: [&str; 5] = ["cpu_ns", "p50", "p99", "p999", "max"];
    let engines: Vec<_> = set.abouts.iter().filter(|about| !set.of(workload, &about.engine).is_empty()).collect();
    let rates = |engine: &str| -> Vec<f64> { set.of(workload, engine).iter().map(|row| row.rate()).collect() };
    let most = engines.iter().map(|about| bounds(&rates(&about.engine)).1).fold(0.0, f64::max);
    let _ = writeln!(out, "<h3>{}</h3><table>", escape(workload));
    out.push_str(
        "<tr><th><th><th>ops/s<th>cpu<th>p50<th>p99<th>p99.9<th>max<th>written<th>disk<th>peak<th>mode</tr>\n",
    );
    for about in engines {
        let mine = set.of(workload, &about.engine);
        let middle = |name: &str| median(mine.iter().map(|row| row.number(name)).collect());
        let all = rates(&about.engine);
        let (rate, (low, high)) = (median(all.clone()), bounds(&all));
        let _ = write!(out, "<tr><td>{}<td>{}<td>{}", escape(&about.engine), bar(rate, low, high, most), short(rate));
        for name in COLUMNS {
            let _ = write!(out, "<td>{}", time(middle(name)));
        }
        for name in ["written", "disk", "peak"] {
            let _ = write!(out, "<td>{:.0} MiB", middle(name) / 1_048_576.0);
        }
        let _ = writeln!(out, "<td><small>{}</small></tr>", escape(&mine[0].mode));
    }
    out.push_str("</table>\n");
}

fn bar(rate: f64, low: f64, high: f64, most: f64) -> String {
    let at = |value: f64| if most > 0.0 { value / most * BAR } else { 0.0 };
    format!(
        "<svg width={:.0} height=14><rect width={:.1} height=14 fill=#8fb3d9 /><line x1={:.1} x2={:.1} y1=7 y2=7 \
         stroke=#234 stroke-width=2 /></svg>",
        BAR + 4.0,
        at(rate),
        at(low),
        at(high).max(at(low) + 1.0)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Row;
    use crate::results::About;

    #[test]
    fn every_engine_has_a_bar_in_every_workload() {
        let mut results = Results::begin("main", "a < b", 1, "/tmp");
        for engine in ["x", "y"] {
            let numbers = [("count".to_string(), 10.0), ("seconds".to_string(), 2.0)].into();
            let row = Row { engine: engine.into(), workload: "fillseq".into(), mode: "log".into(), numbers };
            results.take(About { engine: engine.into(), text: "z".into() }, vec![row]);
        }
        let page = page(&[results]);
        assert_eq!((page.matches("<svg").count(), page.matches("<h3>fillseq").count()), (2, 1));
        assert!(page.contains("a &lt; b") && !page.contains("a < b"));
    }
}
