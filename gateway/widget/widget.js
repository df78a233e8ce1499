const STYLE = `/* style */`;
