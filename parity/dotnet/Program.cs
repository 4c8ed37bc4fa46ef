// The reference agent on the .NET library. What it does is said in ../reference-agent.md.

using Azure.AI.AgentServer.Invocations;
using ReferenceAgent;

switch (Environment.GetEnvironmentVariable("PARITY_HANDLER") ?? "full")
{
    case "full" when Environment.GetEnvironmentVariable("PARITY_PREFIX") is null:
        InvocationsServer.Run<FullAgent>();
        return 0;
    case "http_only":
        InvocationsServer.Run<HttpOnlyAgent>();
        return 0;
    case "ws_only":
        InvocationsServer.Run<WebSocketOnlyAgent>();
        return 0;
    default:
        Console.Error.WriteLine("this reference agent has no such handler");
        return 64;
}
