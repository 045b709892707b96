#![no_main]
caseward_fuzz::target!(caseward_fhir::fuzz::nppes);
