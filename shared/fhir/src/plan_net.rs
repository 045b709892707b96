//! What the directory's resources share: hours, qualifications, and the extensions of the Plan-Net profiles.
use caseward_api::{
    directory::v1::{
        Absence, AcceptingPatients, Availability, NewPatients, Qualification, RecordStatus,
        availability::Day,
    },
    types::v1::{Concept, Identifier, LatLng},
};

use crate::{datatype, link::Links, node::Node, patient};

/// Where the definitions of Plan-Net's extensions live.
const PLAN_NET: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition";

/// The system of the NUCC provider taxonomy.
pub(crate) const TAXONOMY: &str = "http://nucc.org/provider-taxonomy";

/// The URL of a Plan-Net extension.
pub(crate) fn url(extension: &str) -> String {
    format!("{PLAN_NET}/{extension}")
}

/// Whether the record is in use, of resources that say so with `active`.
pub(crate) fn active(at: &Node<'_>) -> RecordStatus {
    match at.flag("active") {
        Some(false) => RecordStatus::Inactive,
        Some(true) | None => RecordStatus::Active,
    }
}

/// Whether new patients are taken.
pub(crate) fn new_patients(of: &Node<'_>, links: &Links<'_>) -> Vec<NewPatients> {
    let all = of.extensions(&url("newpatients"));
    if all.len() > 50 {
        of.fail_at("extension", "wants at most 50 members");
    }
    let read = |at: &Node<'_>| {
        let concept = at.extension("acceptingPatients");
        let concept = concept.and_then(|at| datatype::concept(&at, "valueCodeableConcept"));
        let accepting = datatype::codes(&concept).find_map(|code| {
            Some(match code {
                "newpt" => AcceptingPatients::New,
                "existptonly" => AcceptingPatients::ExistingOnly,
                "existptfam" => AcceptingPatients::ExistingAndFamily,
                "nopt" => AcceptingPatients::None,
                _ => return None,
            })
        });
        if accepting.is_none() {
            at.fail("wants a code of AcceptingPatientsCS");
        }
        let network = at
            .extension("fromNetwork")
            .map(|at| links.name(&at, "valueReference", &["Organization"]));
        let characteristics = at.extension("characteristics").map(|at| at.text("valueString", 300));
        Some(NewPatients {
            accepting: accepting? as i32,
            network: network.unwrap_or_default(),
            characteristics: characteristics.unwrap_or_default(),
        })
    };
    all.iter().filter_map(read).collect()
}

/// The networks that a role or a service is part of.
pub(crate) fn networks(of: &Node<'_>, links: &Links<'_>) -> Vec<String> {
    let mut names: Vec<String> = vec![];
    for at in of.extensions(&url("network-reference")) {
        let name = links.name(&at, "valueReference", &["Organization"]);
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() > 200 {
        of.fail_at("extension", "wants at most 200 members");
    }
    names
}

/// The concepts that extensions of one URL hold.
pub(crate) fn concepts(of: &Node<'_>, extension: &str) -> Vec<Concept> {
    let all = of.extensions(&url(extension));
    all.iter().filter_map(|at| datatype::concept(at, "valueCodeableConcept")).collect()
}

/// Hours of the week. `from` and `until` are the names of the times, which differ by resource.
pub(crate) fn hours(of: &Node<'_>, member: &str, from: &str, until: &str) -> Vec<Availability> {
    // Plan-Net's data hold one member for each day; days with the same hours are one of ours.
    let mut all: Vec<Availability> = vec![];
    for at in of.list_of(member, 50) {
        let Some(hours) = day_hours(&at, from, until) else { continue };
        let same = all.iter_mut().find(|known| {
            let times =
                |of: &Availability| (of.all_day, of.start_time.clone(), of.end_time.clone());
            times(known) == times(&hours) && !known.days.is_empty() && !hours.days.is_empty()
        });
        match same {
            Some(known) => {
                let new = hours.days.iter().filter(|day| !known.days.contains(day)).copied();
                known.days.extend(new.collect::<Vec<_>>());
                known.days.sort_unstable();
            }
            None => all.push(hours),
        }
    }
    all
}

fn day_hours(at: &Node<'_>, from: &str, until: &str) -> Option<Availability> {
    let mut days = vec![];
    for at in at.list_of("daysOfWeek", 7) {
        let day = match &*at.as_text(10) {
            "mon" => Day::Monday,
            "tue" => Day::Tuesday,
            "wed" => Day::Wednesday,
            "thu" => Day::Thursday,
            "fri" => Day::Friday,
            "sat" => Day::Saturday,
            "sun" => Day::Sunday,
            _ => {
                at.fail("wants a code of days-of-week");
                continue;
            }
        };
        if !days.contains(&(day as i32)) {
            days.push(day as i32);
        }
    }
    days.sort_unstable();
    let (start_time, end_time) = (clock(at, from), clock(at, until));
    let all_day = at.flag("allDay") == Some(true);
    if all_day {
        return Some(Availability {
            days,
            all_day,
            start_time: String::new(),
            end_time: String::new(),
        });
    }
    if start_time.is_empty() || end_time.is_empty() {
        at.warn("says no hours of the day; left out");
        return None;
    }
    Some(Availability { days, all_day, start_time, end_time })
}

/// A FHIR `time` as hours and minutes.
fn clock(of: &Node<'_>, member: &str) -> String {
    let text = of.text(member, 20);
    let mut parts = text.split(':');
    let part = |text: Option<&str>, most: u8| {
        text.filter(|text| text.len() == 2)?.parse::<u8>().ok().filter(|part| *part < most)
    };
    match (part(parts.next(), 24), part(parts.next(), 60)) {
        _ if text.is_empty() => String::new(),
        (Some(hour), Some(minute)) => format!("{hour:02}:{minute:02}"),
        _ => {
            of.fail_at(member, "wants a time of the day, such as 09:00:00");
            String::new()
        }
    }
}

/// Times when nobody is available.
pub(crate) fn absences(of: &Node<'_>) -> Vec<Absence> {
    let all = of.list_of("notAvailable", 50);
    all.iter()
        .map(|at| Absence {
            description: at.text("description", 300),
            period: datatype::period(at, "during"),
        })
        .collect()
}

/// Licences, degrees and certificates.
pub(crate) fn qualifications(of: &Node<'_>) -> Vec<Qualification> {
    let read = |at: &Node<'_>| {
        let known = at.extension(&url("practitioner-qualification"));
        let jurisdiction = known
            .and_then(|at| at.extension("whereValid"))
            .and_then(|at| datatype::concept(&at, "valueCodeableConcept"));
        let code = datatype::codes(&jurisdiction).next().map(str::to_owned);
        Qualification {
            identifiers: numbers(at),
            code: datatype::concept(at, "code"),
            issuer: at.get("issuer").map(|at| at.text("display", 300)).unwrap_or_default(),
            jurisdiction: code.unwrap_or_default(),
            period: datatype::period(at, "period"),
        }
    };
    of.list_of("qualification", 50).iter().map(read).collect()
}

/// The numbers of a licence. They identify nothing by themselves, so a shared one is no mistake.
fn numbers(of: &Node<'_>) -> Vec<Identifier> {
    let all = of.list_of("identifier", 10);
    let mut numbers: Vec<Identifier> = vec![];
    for at in all {
        let number = Identifier { system: at.text("system", 200), value: at.text("value", 200) };
        if !number.system.is_empty() && !number.value.is_empty() && !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    numbers
}

/// The languages of a list of concepts, as BCP 47 codes.
pub(crate) fn languages(of: &Node<'_>) -> Vec<String> {
    let mut codes: Vec<String> = vec![];
    for at in of.list_of("communication", 20) {
        // A language of a practitioner is a concept itself; ours finds it by the name of a member.
        let code =
            at.list("coding").iter().map(|at| at.text("code", 35)).find(|code| !code.is_empty());
        match code {
            Some(code) if !codes.contains(&code) => codes.push(code),
            Some(_) => {}
            None => at.warn("is a language without a code; left out"),
        }
    }
    codes
}

/// The place on the globe.
pub(crate) fn position(of: &Node<'_>) -> Option<LatLng> {
    let at = of.get("position")?;
    let (latitude, longitude) = (at.number("latitude")?, at.number("longitude")?);
    if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
        at.fail("wants degrees of WGS 84");
        return None;
    }
    Some(LatLng { latitude, longitude })
}

/// The administrative gender, in the directory's own enumeration.
pub(crate) fn gender(at: &Node<'_>) -> i32 {
    // Both contracts number FHIR's value set alike.
    patient::gender(at) as i32
}
