//! include/h5zsae.F90 says what include/h5zsae.h says: constants, structures, functions with their arguments. And what
//! it adds works.
//!
//! Both files are brought into one form, lines of Fortran declarations, and compared as text.

mod common;

use std::fs::read_to_string;

use common::{Bench, project};

/// A structure or function: its name, and a line for each field or argument in order.
type Declared = (String, Vec<String>);

fn header() -> String {
    let text = read_to_string(project("include/h5zsae.h")).unwrap();
    let mut code = String::new();
    for part in text.split("/*") {
        code.push_str(part.split_once("*/").map_or(part, |(_, after)| after));
    }
    code
}

/// The module's first half, continued lines joined, without comments.
fn module() -> Vec<String> {
    let text = read_to_string(project("include/h5zsae.F90")).unwrap();
    let (half, _) = text.split_once("end interface").expect("the interfaces of the C functions");
    let joined = half.replace("&\n", "");
    let lines = joined.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty() && !line.starts_with('!') && line != "import").collect()
}

fn header_constants(header: &str) -> Vec<String> {
    let defines = header.lines().filter_map(|line| line.strip_prefix("#define ")?.split_once(' '));
    let defines = defines.map(|(name, value)| format!("{name} = {value}"));
    let (_, values) = header.split_once("typedef enum {").unwrap();
    let (values, _) = values.split_once('}').unwrap();
    defines
        .chain(values.split(',').map(|value| value.trim().to_string()))
        .filter(|line| !line.is_empty())
        .collect()
}

fn module_constants(module: &[String]) -> Vec<String> {
    let constants = module.iter().filter_map(|line| line.split_once(", parameter, public :: "));
    constants.map(|(_, constant)| constant.to_string()).collect()
}

/// A field's declaration in Fortran, made of the one in C.
fn field(declaration: &str) -> String {
    let (c_type, name) = declaration.trim().rsplit_once([' ', '*']).unwrap();
    let fortran = match c_type.trim() {
        "uint32_t" => "integer(c_int32_t)",
        "uint64_t" => "integer(c_int64_t)",
        "size_t" => "integer(c_size_t)",
        "double" => "real(c_double)",
        "const size_t" => "type(c_ptr)",
        other => panic!("a field of C type {other}: say here what it is in Fortran"),
    };
    format!("{fortran} :: {}", name.replace('[', "(").replace(']', ")"))
}

fn header_structures(header: &str) -> Vec<Declared> {
    let structures = header.split("typedef struct {").skip(1);
    let parse = |text: &str| {
        let (fields, rest) = text.split_once('}').unwrap();
        let name = rest.split_once(';').unwrap().0.trim().to_string();
        (name, fields.split(';').filter(|line| !line.trim().is_empty()).map(field).collect())
    };
    structures.map(parse).collect()
}

fn module_structures(module: &[String]) -> Vec<Declared> {
    let mut structures = Vec::<Declared>::new();
    let mut inside = false;
    for line in module {
        if let Some(name) = line.strip_prefix("type, bind(c), public :: ") {
            structures.push((name.to_string(), Vec::new()));
            inside = true;
        } else if line == "end type" {
            inside = false;
        } else if inside {
            let declaration = line.split_once(" = ").map_or(line.as_str(), |(declaration, _)| declaration);
            structures.last_mut().unwrap().1.push(declaration.to_string());
        }
    }
    structures
}

/// An argument's declaration in Fortran, made of the one in C.
fn argument(declaration: &str) -> String {
    let declaration = declaration.trim();
    let name = declaration.rsplit([' ', '*']).next().unwrap();
    let c_type = declaration.strip_suffix(name).unwrap().trim();
    let fortran = match c_type {
        "uint64_t" => "integer(c_int64_t), value",
        "size_t" => "integer(c_size_t), value",
        "const void *" | "void *" | "const h5zsae_model *" | "h5zsae_model *" => "type(c_ptr), value",
        "void **" | "h5zsae_model **" => "type(c_ptr), intent(out)",
        "size_t *" => "integer(c_size_t), intent(out)",
        "h5zsae_header *" => "type(h5zsae_header), intent(out)",
        "const h5zsae_chunk *" => "type(h5zsae_chunk), intent(in)",
        "const h5zsae_options *" => "type(h5zsae_options), intent(in), optional",
        "const char *" => return format!("character(kind=c_char), intent(in) :: {name}(*)"),
        "unsigned int *" => return format!("integer(c_int), intent(out) :: {name}(*)"),
        other => panic!("an argument of C type {other}: say here what it is in Fortran"),
    };
    format!("{fortran} :: {name}")
}

/// What a C function returns, as a declaration in Fortran; nothing for a subroutine.
fn result(c_type: &str) -> Option<String> {
    let fortran = match c_type {
        "void" => return None,
        "const char *" | "const void *" => "type(c_ptr)",
        "h5zsae_status" => "integer(c_int)",
        "uint32_t" => "integer(c_int32_t)",
        "uint64_t" => "integer(c_int64_t)",
        "size_t" => "integer(c_size_t)",
        other => panic!("a result of C type {other}: say here what it is in Fortran"),
    };
    Some(format!("{fortran} :: result"))
}

fn header_functions(header: &str) -> Vec<Declared> {
    let (_, functions) = header.split_once("extern \"C\" {").unwrap();
    let (_, functions) = functions.split_once("#endif").unwrap();
    let (_, functions) = functions.split_once('\n').unwrap();
    let (functions, _) = functions.split_once("#ifdef").unwrap();
    let parse = |text: &str| {
        let (head, arguments) = text.trim().split_once('(').unwrap();
        let name = head.rsplit([' ', '*']).next().unwrap();
        let arguments = arguments.strip_suffix(')').unwrap();
        let arguments = arguments.split(',').filter(|text| *text != "void").map(argument);
        let lines = arguments.chain(result(head.strip_suffix(name).unwrap().trim())).collect();
        (name.to_string(), lines)
    };
    functions.split(';').filter(|text| !text.trim().is_empty()).map(parse).collect()
}

fn module_functions(module: &[String]) -> Vec<Declared> {
    let mut functions = Vec::<Declared>::new();
    let mut result_name = String::new();
    for line in module {
        if let Some(head) = line.strip_prefix("function ").or_else(|| line.strip_prefix("subroutine ")) {
            let label = head.split_once("name='").map_or(head, |(_, label)| label);
            let name = label.split(['(', '\'']).next().unwrap();
            functions.push((name.to_string(), Vec::new()));
            let (_, result) = head.split_once("result(").unwrap_or_default();
            result_name = format!(":: {}", result.trim_end_matches(')'));
        } else if let (Some(function), Some((_, _))) = (functions.last_mut(), line.split_once(" :: ")) {
            let declaration = match line.strip_suffix(&result_name) {
                Some(kind) => format!("{kind}:: result"),
                None => line.clone(),
            };
            function.1.push(declaration);
        }
    }
    functions
}

#[test]
fn module_has_the_constants_of_the_header() {
    let constants = header_constants(&header());
    assert!(
        constants.len() >= 26 && constants.contains(&"H5Z_FILTER_SAE = 34222".to_string()),
        "{constants:?}"
    );
    assert_eq!(module_constants(&module()), constants);
}

#[test]
fn module_has_the_structures_of_the_header() {
    let structures = header_structures(&header());
    assert_eq!(structures.len(), 3);
    assert_eq!(module_structures(&module()), structures);
}

#[test]
fn module_has_the_functions_of_the_header() {
    let functions = header_functions(&header());
    assert!(functions.len() >= 17, "{functions:?}");
    assert_eq!(module_functions(&module()), functions);
}

#[test]
fn module_shows_what_it_declares() {
    let module = module();
    let (shown, declared): (Vec<_>, Vec<_>) = module.iter().partition(|line| line.starts_with("public :: "));
    let shown = shown.iter().flat_map(|line| line["public :: ".len()..].split(", ")).collect::<Vec<_>>();
    let functions = declared
        .iter()
        .filter_map(|line| line.strip_prefix("function ").or(line.strip_prefix("subroutine ")));
    for function in functions {
        let name = function.split('(').next().unwrap();
        assert!(shown.contains(&name), "{name} is not public");
    }
}

#[test]
fn serves_fortran_programs_without_hdf5() {
    let bench = Bench::new();
    let sources = [project("include/h5zsae.F90"), project("plugin/tests/fortran/wrappers.f90")];
    let options = ["-std=f2018", "-pedantic", "-fcheck=all,no-array-temps"];
    let program =
        bench.compile_sources("gfortran", &options, &[&sources[0], &sources[1]], &bench.link_flags());
    let outcome = common::output_of(bench.valgrind(program)).expect_success();
    assert!(outcome.stdout.contains("wrappers done"), "{}", outcome.text());
}
