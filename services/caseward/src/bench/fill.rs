//! Fills databases with people who never lived: the same ones for the same seed, in bulk, past the API.
use std::time::Duration;

use anyhow::Context;
use caseward_api::{
    patient::v1::{Communication, Patient, patient::Gender},
    types::v1::{Address, ContactPoint, Date, HumanName, Identifier, contact_point::System},
};
use caseward_core::{Clock, Ctx};
use caseward_server::{LOCAL_ORGANIZATION, settings::Layers};
use clap::Args as Arguments;
use indicatif::{ProgressBar, ProgressStyle};
use uuid::Uuid;

/// How many patients go in at once.
const BATCH: u64 = 2000;

/// How many cases one person carries.
pub(super) const CASELOAD: u64 = 1000;

#[derive(Debug, Arguments)]
pub(super) struct Args {
    /// How many patients, each with a case and a task in it.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    patients: u64,
    /// The same seed makes the same people.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// `key=value`, over every other setting.
    #[arg(long)]
    set: Vec<String>,
}

/// Fills the databases that the settings name.
pub(super) async fn run(mut layers: Layers, args: Args) -> anyhow::Result<()> {
    for set in args.set {
        let (key, value) = set.split_once('=').context("--set wants key=value")?;
        layers = layers.with(key, value)?;
    }
    let common = layers.common()?;
    let patients =
        caseward_patient::open(&layers.section(caseward_patient::NAME)?, &common).await?;
    let cases =
        caseward_care_plan::open(&layers.section(caseward_care_plan::NAME)?, &common).await?;
    let generator = Generator::new(args.seed);
    let bar = ProgressBar::new(args.patients);
    let style =
        ProgressStyle::with_template("{wide_bar} {pos}/{len} patients {per_sec} {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_secs(1));
    for first in (0..args.patients).step_by(BATCH as usize) {
        let batch = first..args.patients.min(first + BATCH);
        let ctx = || Ctx::task("bench", "fill", LOCAL_ORGANIZATION, Clock::System);
        let people = batch.clone().map(|n| (generator.patient_id(n), generator.patient(n)));
        let carried = batch.clone().map(|n| caseward_care_plan::fill::Carried {
            case: generator.case_id(n),
            patient: generator.patient_id(n),
            owner: owner(n),
            due_in: Duration::from_secs(generator.random(n, 7) % (30 * 86_400)),
        });
        let (of_patients, of_cases) = (ctx(), ctx());
        tokio::try_join!(
            caseward_patient::fill::patients(&patients, &of_patients, people.collect()),
            caseward_care_plan::fill::cases(&cases, &of_cases, carried.collect()),
        )?;
        bar.inc(batch.end - batch.start);
    }
    tokio::try_join!(patients.analyze(), cases.analyze())?;
    bar.finish_and_clear();
    Ok(())
}

/// Who carries the n-th case.
pub(super) fn owner(n: u64) -> String {
    format!("manager-{}", n / CASELOAD)
}

/// Makes people out of numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Generator {
    seed: u64,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Generator { seed }
    }

    /// The id of the n-th patient.
    pub(super) fn patient_id(self, n: u64) -> Uuid {
        self.id(n, 1)
    }

    /// The id of the n-th case.
    fn case_id(self, n: u64) -> Uuid {
        self.id(n, 2)
    }

    /// As UUIDs of version 7 are, in the order of the numbers.
    fn id(self, n: u64, salt: u64) -> Uuid {
        // 2020, so that whatever is made later sorts behind.
        const EPOCH_MILLIS: u64 = 1_577_836_800_000;
        let random =
            u128::from(self.random(n, salt)) << 64 | u128::from(self.random(n, salt + 100));
        uuid::Builder::from_unix_timestamp_millis(
            EPOCH_MILLIS + n,
            &random.to_be_bytes()[..10].try_into().unwrap_or_default(),
        )
        .into_uuid()
    }

    /// The n-th patient: a name, a birth date, a phone, an address, a language, two identifiers.
    pub(super) fn patient(self, n: u64) -> Patient {
        let pick = |list: &[&'static str], salt| {
            list[(self.random(n, salt) % list.len() as u64) as usize].to_owned()
        };
        let digits = self.random(n, 3);
        Patient {
            identifiers: vec![
                Identifier {
                    system: "urn:caseward:bench".to_owned(),
                    value: format!("{}-{n}", self.seed),
                },
                Identifier {
                    system: "http://hospital.example.org/mrn".to_owned(),
                    value: format!("{:010}-{n}", digits % 10_000_000_000),
                },
            ],
            names: vec![HumanName {
                family: pick(&FAMILY, 10),
                given: vec![pick(&GIVEN, 11), pick(&GIVEN, 12)],
                ..Default::default()
            }],
            gender: if digits.is_multiple_of(2) { Gender::Female } else { Gender::Male }.into(),
            birth_date: Some(Date {
                year: 1930 + (self.random(n, 13) % 90) as i32,
                month: 1 + (self.random(n, 14) % 12) as i32,
                day: 1 + (self.random(n, 15) % 28) as i32,
            }),
            telecoms: vec![ContactPoint {
                system: System::Phone.into(),
                value: format!("+1 555 {:07}", digits % 10_000_000),
                ..Default::default()
            }],
            addresses: vec![Address {
                lines: vec![format!("{} {} Street", 1 + digits % 9000, pick(&FAMILY, 16))],
                city: pick(&CITY, 17),
                state: "MA".to_owned(),
                postal_code: format!("{:05}", 1000 + self.random(n, 18) % 1700),
                country: "US".to_owned(),
                ..Default::default()
            }],
            communications: vec![Communication { language: "en".to_owned(), interpreter: false }],
            time_zone: "America/New_York".to_owned(),
            ..Default::default()
        }
    }

    /// SplitMix64 over what is asked.
    pub(super) fn random(self, n: u64, salt: u64) -> u64 {
        let mut z = (self.seed ^ salt.rotate_left(40))
            .wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

const FAMILY: [&str; 16] = [
    "Abara",
    "Becker",
    "Castillo",
    "Dang",
    "Eriksen",
    "Fontaine",
    "Grant",
    "Haddad",
    "Ivanov",
    "Jackson",
    "Kim",
    "Lindqvist",
    "Moreno",
    "Novak",
    "Okafor",
    "Patel",
];
const GIVEN: [&str; 16] = [
    "Ada", "Ben", "Carmen", "Dmitri", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Keiko",
    "Liam", "Mara", "Noah", "Olga", "Priya",
];
const CITY: [&str; 8] =
    ["Boston", "Lowell", "Lynn", "Quincy", "Salem", "Springfield", "Taunton", "Worcester"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_people_in_the_order_of_their_numbers() {
        let (one, other) = (Generator::new(7), Generator::new(8));
        assert_eq!(one.patient(5), one.patient(5));
        assert_ne!(one.patient(5), other.patient(5));
        assert!((0..1000).all(|n| one.patient_id(n) < one.patient_id(n + 1)));
        assert_eq!(one.patient_id(0).get_version_num(), 7);
    }
}
