//! The live table.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use millstream::{BoxError, Timestamp};

use crate::events::Stage;
use crate::results::Results;

/// Draws the table over itself on a terminal; elsewhere it prints a line at a time.
pub(crate) struct Display {
    is_live: bool,
    lines: usize,
}

impl Display {
    pub(crate) fn new() -> Self {
        Self { is_live: std::io::stdout().is_terminal(), lines: 0 }
    }

    /// Shows how things stand.
    pub(crate) fn show(
        &mut self,
        now: Timestamp,
        events: u64,
        results: &Results,
    ) -> Result<(), BoxError> {
        if !self.is_live {
            println!("{}", summary(now, events, results));
            return Ok(());
        }
        let table = table(now, events, results)?;
        // Up to where the last table began, and clear from there.
        let back = match self.lines {
            0 => String::new(),
            lines => format!("\x1b[{lines}F\x1b[J"),
        };
        self.lines = table.lines().count();
        print!("{back}{table}");
        Ok(std::io::stdout().flush()?)
    }

    /// Shows how things stand at the end.
    pub(crate) fn finish(
        &mut self,
        now: Timestamp,
        events: u64,
        results: &Results,
    ) -> Result<(), BoxError> {
        if self.is_live {
            return self.show(now, events, results);
        }
        print!("\n{}", table(now, events, results)?);
        Ok(())
    }
}

fn summary(now: Timestamp, events: u64, results: &Results) -> String {
    let sales: u64 = results.revenue.values().map(|revenue| revenue.sales).sum();
    let visits: i64 = results.funnel.values().sum();
    format!(
        "{} {events:>7} events {sales:>5} sales {visits:>6} visits {:>3} alerts {:>3} refused",
        time_of_day(now),
        results.alerts.len(),
        results.refused,
    )
}

fn table(now: Timestamp, events: u64, results: &Results) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(out, "shop time {}   {events} events", time_of_day(now))?;
    write_revenue(&mut out, results)?;
    write_funnel(&mut out, results)?;
    writeln!(out)?;
    let latest = results.alerts.keys().rev().take(3);
    let latest: Vec<_> =
        latest.map(|(since, card)| format!("{card} since {}", time_of_day(*since))).collect();
    writeln!(out, "{:>6} alerts        {}", results.alerts.len(), latest.join(", "))?;
    writeln!(out, "{:>6} dead letters", results.refused)?;
    Ok(out)
}

/// The latest minutes, side by side.
fn write_revenue(out: &mut String, results: &Results) -> std::fmt::Result {
    let minutes: BTreeSet<Timestamp> = results.revenue.keys().map(|(minute, _)| *minute).collect();
    let minutes: Vec<Timestamp> = minutes.iter().rev().take(4).rev().copied().collect();
    let categories: BTreeSet<&str> = results.revenue.keys().map(|(_, name)| &**name).collect();
    write!(out, "\n{:<14}", "revenue")?;
    for minute in &minutes {
        write!(out, "{:>12}", &time_of_day(*minute)[..5])?;
    }
    writeln!(out)?;
    for category in categories {
        write!(out, "{category:<14}")?;
        for minute in &minutes {
            let revenue = results.revenue.get(&(*minute, category.to_owned()));
            let cents = revenue.map_or(0, |revenue| revenue.cents);
            write!(out, "{:>9}.{:02}", cents / 100, cents % 100)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Visits that came at least as far as each stage.
fn write_funnel(out: &mut String, results: &Results) -> std::fmt::Result {
    let ended = |stage: Stage| results.funnel.get(&stage.to_string()).copied().unwrap_or(0);
    let all: i64 = Stage::ALL.into_iter().map(ended).sum();
    writeln!(out, "\n{:<14}{:>12}", "funnel", "visits")?;
    for stage in Stage::ALL {
        let reached: i64 = Stage::ALL.into_iter().filter(|s| *s >= stage).map(ended).sum();
        let bar = "#".repeat((reached * 30 / all.max(1)) as usize);
        writeln!(out, "{:<14}{reached:>12}  {bar}", stage.to_string())?;
    }
    Ok(())
}

/// Hours, minutes and seconds, UTC.
fn time_of_day(at: Timestamp) -> String {
    let seconds = at.as_millis() / 1_000;
    format!("{:02}:{:02}:{:02}", seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Revenue;

    #[test]
    fn a_funnel_counts_visits_at_every_stage_that_they_passed() {
        let mut results = Results::default();
        results.funnel = [("looked".to_owned(), 3), ("bought".to_owned(), 1)].into();
        results.revenue.insert(
            (Timestamp::from_millis(60_000), "books".into()),
            Revenue { sales: 1, cents: 705 },
        );
        let table = table(Timestamp::from_millis(61_000), 9, &results).unwrap();
        assert!(table.contains("looked                   4  ######"), "{table}");
        assert!(table.contains("chose                    1  #######\n"), "{table}");
        assert!(table.contains("books                 7.05"), "{table}");
    }
}
