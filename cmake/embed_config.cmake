# Turns one text file into a C++ source: const std::string& holdfast::app::embedded_config().
file(READ ${IN} text)
file(WRITE ${OUT} "#include <string>\nnamespace holdfast::app {\nconst std::string& embedded_config();\nconst std::string& embedded_config() {\n    static const std::string text = R\"~json~(${text})~json~\";\n    return text;\n}\n}  // namespace holdfast::app\n")
