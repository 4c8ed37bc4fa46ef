using System.Collections.Concurrent;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Azure.AI.AgentServer.Invocations;

namespace ReferenceAgent;

/// <summary>Writes whole answers.</summary>
internal static class Answer
{
    private static readonly JsonSerializerOptions s_json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static string Json(object? value) => JsonSerializer.Serialize(value, s_json);

    public static Task WriteJsonAsync(HttpResponse response, int status, object? value, CancellationToken cancellationToken)
        => WriteAsync(response, status, "application/json", Json(value), cancellationToken);

    public static async Task WriteAsync(
        HttpResponse response, int status, string contentType, string body, CancellationToken cancellationToken)
    {
        response.StatusCode = status;
        response.ContentType ??= contentType;
        await response.Body.WriteAsync(Encoding.UTF8.GetBytes(body), cancellationToken);
    }

    /// <summary>What the <c>context</c> operation shows.</summary>
    public static Dictionary<string, object?> Describe(InvocationContext context) => new()
    {
        ["invocation_id"] = context.InvocationId,
        ["session_id"] = context.SessionId,
        ["client_headers"] = context.ClientHeaders.ToDictionary(h => h.Key.ToLowerInvariant(), h => h.Value),
        ["query"] = context.QueryParameters.ToDictionary(q => q.Key, q => q.Value.ToArray()),
        ["user_isolation_key"] = context.Isolation.UserIsolationKey,
        ["chat_isolation_key"] = context.Isolation.ChatIsolationKey,
        ["user_id"] = null,
        ["call_id"] = null,
    };
}

/// <summary>The invocations that were started, for the life of the process.</summary>
internal static class Started
{
    private static readonly ConcurrentDictionary<string, string> s_status = new();

    public static void Set(string invocationId, string status) => s_status[invocationId] = status;

    public static Task AnswerAsync(
        HttpResponse response, string invocationId, string sessionId, bool cancel, CancellationToken cancellationToken)
    {
        if (invocationId == "raise")
        {
            throw new InvalidOperationException("secret get detail");
        }

        if (!s_status.ContainsKey(invocationId))
        {
            var unknown = new { error = new { code = "not_found", message = "unknown invocation" } };
            return Answer.WriteJsonAsync(response, 404, unknown, cancellationToken);
        }

        if (cancel)
        {
            Set(invocationId, "cancelled");
        }

        var body = new { invocation_id = invocationId, session_id = sessionId, status = s_status[invocationId] };
        return Answer.WriteJsonAsync(response, 200, body, cancellationToken);
    }
}
