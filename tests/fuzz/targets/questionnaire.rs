#![no_main]
caseward_fuzz::target!(caseward_care_plan::fuzz::questionnaire);
